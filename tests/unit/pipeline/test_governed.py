"""What limits have given a request, and its headers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pipeline.expected import UsualOutput
from gateway.pipeline.governed import Governed, duration
from gateway.pipeline.rules import Rules
from gateway.services.limits.limit import Limit
from gateway.upstream.job import Headers, Outcome
from gateway.wire.usage import Usage
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.upstream.fakes import outcome


@pytest.fixture
def quota() -> Any:
    return FakeQuota()


def rules(quota: Any, **numbers: int) -> Rules:
    return Rules(quota, [Limit("l1", "key", "k1", None, **numbers)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0ms"),
        (0.0125, b"12ms"),
        (0.9999, b"999ms"),
        (1, b"1s"),
        (59.2, b"1m0s"),
        (360, b"6m0s"),
        (3600, b"1h0m0s"),
        (7384, b"2h3m4s"),
        (86_400, b"24h0m0s"),
    ],
)
def test_times_are_written_as_openai_writes_them(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


def test_units_come_back_once_however_often_the_end_is_told(quota: Any) -> None:
    given = rules(quota, max_concurrency=2)
    (held,) = given.held
    governed = Governed(quota)
    quota.take(given.requests)
    governed.took(given)
    assert held.available == 1
    governed.end([])
    governed.end([])
    assert held.available == 2


@pytest.mark.parametrize(
    ("outcomes", "used"),
    [
        ([], 0),
        ([outcome(usage=Usage(prompt=10, completion=5))], 15),
        ([outcome(usage=Usage(prompt=10, completion=500))], 510),
        ([outcome(sent=True, request_bytes=40, streamed_tokens=3)], 13),
        ([outcome(sent=True, billable=False, request_bytes=40)], 0),
        ([outcome(request_bytes=40)], 0),
        ([outcome(usage=Usage(prompt=10)), outcome(usage=Usage(prompt=20))], 30),
    ],
)
def test_tokens_count_as_they_were_used_and_not_as_they_were_reserved(
    quota: Any, outcomes: list[Outcome], used: int
) -> None:
    (counter,) = rules(quota, tokens_per_minute=1000).tokens
    governed = Governed(quota)
    quota.take([(counter, 100)])
    governed.took_tokens([(counter, 100)], UsualOutput(), "m")
    governed.end(outcomes)
    assert counter.available == 1000 - used


def test_tokens_of_a_window_that_is_over_do_not_come_back(quota: Any) -> None:
    (counter,) = rules(quota, tokens_per_minute=1000).tokens
    governed = Governed(quota)
    quota.take([(counter, 100)])
    governed.took_tokens([(counter, 100)], UsualOutput(), "m")
    quota.window = 2
    governed.end([])
    assert counter.available == 900


def test_the_headers_are_those_of_the_limit_that_has_least_left(quota: Any) -> None:
    wide = Rules(quota, [Limit("wide", "global", requests_per_day=1000, tokens_per_day=5000, max_concurrency=1)])
    narrow = Rules(quota, [Limit("narrow", "key", "k1", requests_per_minute=10)])
    governed = Governed(quota)
    for each in (wide, narrow):
        quota.take(each.requests)
        governed.took(each)
    governed.clamped = 77
    headers: Headers = []
    governed.add_headers(headers)
    assert dict(headers) == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"9",
        b"x-ratelimit-reset-requests": b"12s",
        b"x-ratelimit-limit-tokens": b"5000",
        b"x-ratelimit-remaining-tokens": b"5000",
        b"x-ratelimit-reset-tokens": b"12s",
        b"x-gateway-max-tokens-clamped": b"77",
    }


def test_debt_is_shown_as_nothing_left(quota: Any) -> None:
    given = rules(quota, tokens_per_minute=100)
    quota.charge(given.tokens[0], 500)
    governed = Governed(quota)
    governed.took(given)
    headers: Headers = []
    governed.add_headers(headers)
    assert dict(headers)[b"x-ratelimit-remaining-tokens"] == b"0"
