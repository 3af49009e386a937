"""The caller's requests are counted before anything else is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.rules import RuleBook
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.admit import Admit
from gateway.services.keys.key import Key
from gateway.services.limits.limit import Limit
from gateway.wire.openai import CHAT
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.pipeline.test_rules import FakeLimits


def made(*limits: Limit) -> tuple[Admit, Any]:
    quota, known = FakeQuota(), FakeLimits(*limits)
    return Admit(RuleBook(quota, known)), quota  # type: ignore[arg-type]


def call() -> Call:
    made = Call(CHAT, {}, b"", "127.0.0.1")
    made.key = Key(id="k1", name="app")
    return made


def end(call: Call) -> None:
    """As the pipeline does."""
    assert call.governed is not None
    call.governed.end(call.outcomes)


async def test_a_request_counts_once_whatever_becomes_of_it_and_holds_its_place_until_it_ends() -> None:
    stage, quota = made(Limit("l", "key", "k1", requests_per_day=9, max_concurrency=2))
    one = call()
    await take_turn(stage, one)
    assert {name: counter.available for name, counter in quota.counters.items()} == {
        "l:requests_per_day": 8,
        "l:max_concurrency": 1,
    }
    end(one)
    assert [counter.available for counter in quota.counters.values()] == [8, 2]


async def test_a_refused_request_takes_nothing_and_shows_the_limits() -> None:
    stage, quota = made(Limit("l", "key", "k1", requests_per_day=9, max_concurrency=0))
    one = call()
    with pytest.raises(GatewayError, match="0 requests at once of this API key"):
        await take_turn(stage, one)
    end(one)
    assert [counter.available for counter in quota.counters.values()] == [9, 0]
    assert one.governed is not None
    headers: list[tuple[bytes, bytes]] = []
    one.governed.add_headers(headers)
    assert dict(headers)[b"x-ratelimit-remaining-requests"] == b"9"


async def test_a_request_to_which_no_limit_applies_carries_nothing() -> None:
    stage, _ = made(Limit("l", "key", "another", requests_per_day=0))
    one = call()
    await take_turn(stage, one)
    assert one.governed is None
