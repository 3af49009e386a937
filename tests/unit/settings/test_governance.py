"""Limits in the configuration."""

from __future__ import annotations

import pytest

from gateway.services.limits.limit import Limit, declared_limits
from gateway.settings import dump
from tests.unit.settings.conftest import Load, Mistakes

TEXT = """
limits: {requests_per_minute: 600, max_concurrency: 0}
providers:
  openai: {type: openai, limits: {tokens_per_minute: 1000000, on_store_failure: deny}}
  lab: {type: openai, base_url: "http://127.0.0.1:9/v1"}
models:
  - name: fast
    limits: {requests_per_day: 10000}
    targets:
      - {provider: openai, model: gpt-4o-mini, limits: {requests_per_hour: 3}}
      - {provider: lab, model: small}
"""


def test_limits_are_declared_on_everybody_a_provider_a_model_and_a_target(load_text: Load) -> None:
    assert declared_limits(load_text(TEXT)) == [
        Limit("config:global", "global", requests_per_minute=600, max_concurrency=0),
        Limit("config:provider:openai", "provider", "openai", tokens_per_minute=1_000_000, on_store_failure="deny"),
        Limit("config:model:fast", "model", "fast", requests_per_day=10_000),
        Limit("config:target:openai/gpt-4o-mini", "target", "openai/gpt-4o-mini", requests_per_hour=3),
    ]


def test_what_declares_no_limits_has_none_in_its_dump(load_text: Load) -> None:
    settings = load_text("providers: {lab: {type: openai}}")
    assert declared_limits(settings) == []
    assert dump(settings)["limits"] is None
    assert dump(settings)["providers"]["lab"]["limits"] is None


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("limits: {requests_per_minute: -1}", "limits.requests_per_minute"),
        ("limits: {requests_per_minute: 1.5}", "limits.requests_per_minute"),
        ("limits: {requests_per_minute: 10000000000000}", "limits.requests_per_minute"),
        ("limits: {on_store_failure: panic}", "limits.on_store_failure"),
        ("limits: {rpm: 5}", "limits.rpm"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(mistakes_in: Mistakes, written: str, place: str) -> None:
    assert [mistake.path for mistake in mistakes_in(written)] == [place]


def test_a_target_has_its_limits_in_one_place(mistakes_in: Mistakes) -> None:
    target = "{provider: lab, model: m, limits: {max_concurrency: 2}}"
    text = f"""
providers: {{lab: {{type: openai}}}}
models:
  - {{name: one, targets: [{target}]}}
  - {{name: two, targets: [{target}]}}
"""
    assert [mistake.path for mistake in mistakes_in(text)] == ["models[1].targets[0].limits"]
