"""Tokens and models."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.rules import RuleBook
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.limit_rate import LimitRate
from gateway.services.keys.key import Key
from gateway.services.limits.limit import Limit
from gateway.wire.openai import CHAT
from gateway.wire.usage import Usage
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.pipeline.test_rules import FakeLimits
from tests.unit.upstream.fakes import outcome


def made(*limits: Limit) -> tuple[LimitRate, Any]:
    quota, known = FakeQuota(), FakeLimits(*limits)
    return LimitRate(RuleBook(quota, known)), quota  # type: ignore[arg-type]


def call(**fields: Any) -> Call:
    made = Call(CHAT, {}, b"x" * 39, "127.0.0.1")
    made.key, made.asked_model, made.model, made.document = Key(id="k1", name="app"), "alias", "m", fields
    return made


def end(call: Call) -> None:
    """As the pipeline does."""
    assert call.governed is not None
    call.governed.end(call.outcomes)


async def test_tokens_are_taken_of_the_callers_and_the_models_limits_at_once_or_of_none() -> None:
    stage, quota = made(Limit("mine", "key", "k1", tokens_per_day=1000), Limit("its", "model", "m", tokens_per_day=100))
    one = call(max_tokens=50)
    await take_turn(stage, one)
    assert [counter.available for counter in quota.counters.values()] == [40, 940]
    two = call(max_tokens=50)
    with pytest.raises(GatewayError, match="100 tokens per day of the model 'm'"):
        await take_turn(stage, two)
    end(two)
    assert [counter.available for counter in quota.counters.values()] == [40, 940]
    one.outcomes = [outcome(usage=Usage(10, 5))]
    end(one)
    assert [counter.available for counter in quota.counters.values()] == [85, 985]


async def test_a_limit_of_no_tokens_refuses_and_one_that_is_smaller_than_the_request_is_taken_whole() -> None:
    stage, quota = made(Limit("l", "key", "k1", tokens_per_day=70))
    await take_turn(stage, call(max_tokens=5000))
    assert [counter.available for counter in quota.counters.values()] == [0]
    stage, _ = made(Limit("l", "key", "k1", tokens_per_day=0))
    with pytest.raises(GatewayError, match="0 tokens per day"):
        await take_turn(stage, call(max_tokens=1))


async def test_what_models_answer_is_remembered_for_requests_without_a_cap() -> None:
    stage, quota = made(Limit("l", "key", "k1", tokens_per_day=100_000))
    for _ in range(50):
        one = call()
        await take_turn(stage, one)
        one.outcomes = [outcome(usage=Usage(10, 3000))]
        end(one)
        quota.counters["l:tokens_per_day"].available = 100_000
    await take_turn(stage, call())
    assert 100_000 - quota.counters["l:tokens_per_day"].available > 2000
