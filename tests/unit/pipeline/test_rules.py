"""Limits as counters, and the errors that name them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pipeline.rules import RuleBook, tightest
from gateway.services.keys.key import Key
from gateway.services.limits.limit import Limit
from gateway.services.quota.ask import Refusal
from gateway.store.scopes import ScopeIndex
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.upstream.fakes import FakeLine, target, whole


class FakeLimits:
    """Limits that a test sets."""

    def __init__(self, *limits: Limit) -> None:
        self.generation = 0
        self.set(*limits)

    def set(self, *limits: Limit) -> None:
        index = ScopeIndex(limits)
        self.of_caller, self.of_model, self.of_target = index.of_caller, index.of_model, index.of_target
        self.generation += 1


def book_of(*limits: Limit) -> tuple[RuleBook, Any]:
    known: Any = FakeLimits(*limits)
    quota: Any = FakeQuota()
    return RuleBook(quota, known), known


KEY = Key(id="k1", name="app", team_id="t1", organisation_id="o1", user_id="u1")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit("l", "global", requests_per_minute=1000), "1,000 requests per minute of the gateway"),
        (Limit("l", "organisation", "o1", requests_per_hour=5), "5 requests per hour of the organisation"),
        (Limit("l", "team", "t1", requests_per_day=5), "5 requests per day of the team"),
        (Limit("l", "user", "u1", tokens_per_minute=5), "5 tokens per minute of the user"),
        (Limit("l", "key", "k1", max_concurrency=5), "5 requests at once of this API key"),
    ],
)
def test_a_limit_is_named_by_what_it_limits_and_whose_it_is(limit: Limit, words: str) -> None:
    book, _ = book_of(limit)
    rules = book.of_caller(KEY)
    assert rules is not None
    assert list(rules.names.values()) == [(limit.scope, words)]


def test_limits_of_models_and_targets_name_these() -> None:
    team = Limit("a", "team", "t1", "gpt", tokens_per_hour=7)
    model = Limit("b", "model", "gpt", tokens_per_day=8)
    book, _ = book_of(team, model, Limit("c", "target", "p/up-1", max_concurrency=9))
    of_model, of_target = book.of_model(KEY, "gpt"), book.of_target(target(FakeLine(whole())))
    assert of_model is not None
    assert of_target is not None
    assert {name for _, name in of_model.names.values()} == {
        "7 tokens per hour of the team for the model 'gpt'",
        "8 tokens per day of the model 'gpt'",
    }
    assert [name for _, name in of_target.names.values()] == ["9 requests at once of the target 'p/up-1'"]
    assert book.of_model(KEY, "another") is None


def test_a_limit_without_a_number_is_none_and_the_master_key_has_none_but_its_targets() -> None:
    book, _ = book_of(Limit("l", "global"), Limit("m", "key", "k1"))
    assert book.of_caller(KEY) is None
    book, _ = book_of(Limit("l", "global", requests_per_day=0), Limit("m", "model", "gpt", requests_per_day=0))
    master = Key(id=None, name="master", is_master=True)
    assert book.of_caller(master) is None
    assert book.of_model(master, "gpt") is None


def test_what_was_worked_out_holds_until_a_limit_or_the_key_changes() -> None:
    book, limits = book_of(Limit("l", "key", "k1", requests_per_day=1))
    first = book.of_caller(KEY)
    assert book.of_caller(KEY) is first
    limits.set()
    assert book.of_caller(KEY) is None
    limits.set(Limit("x", "team", "t2", requests_per_day=1))
    assert book.of_caller(KEY) is None
    assert book.of_caller(Key(id="k1", name="app", team_id="t2")) is not None


@pytest.mark.parametrize(
    ("number", "reason", "retry_after_s", "code", "should_retry"),
    [
        ("requests_per_hour", "limit", 59.5, "rate_limit_exceeded", None),
        ("requests_per_hour", "limit", 61.0, "rate_limit_exceeded", False),
        ("max_concurrency", "limit", 1.0, "concurrency_limit_exceeded", None),
        ("max_concurrency", "away", 1.0, "limits_unavailable", None),
    ],
)
def test_a_refusal_says_what_to_do_and_is_counted_by_scope(
    number: str, reason: str, retry_after_s: float, code: str, should_retry: bool | None
) -> None:
    book, _ = book_of(Limit("l", "key", "k1", **{number: 3}))  # type: ignore[arg-type]
    rules = book.of_caller(KEY)
    assert rules is not None
    error = book.refused(Refusal(rules.requests[0][0], reason, retry_after_s), [rules])
    assert (error.code, error.retry_after_s, error.should_retry) == (code, retry_after_s, should_retry)
    assert "of this API key" in error.message
    assert book.refusals == {"key": 1}


def test_the_tightest_rate_is_the_one_with_least_left() -> None:
    book, _ = book_of(Limit("l", "key", "k1", requests_per_minute=5, requests_per_day=9, max_concurrency=1))
    rules = book.of_caller(KEY)
    assert rules is not None
    assert rules.rates == tuple(counter for counter, _ in rules.requests if counter not in rules.held)
    assert tightest(book.quota, rules.rates) == (5, 5, 12.0)
    day = next(counter for counter in rules.rates if counter.limit == 9)
    day.available = 2
    assert tightest(book.quota, rules.rates) == (9, 2, 12.0)
    assert tightest(book.quota, ()) is None
