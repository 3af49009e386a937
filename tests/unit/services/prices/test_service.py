from __future__ import annotations

from importlib.resources import files

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.price import PriceOverride
from gateway.services.prices.service import FILE_NAME, Prices
from gateway.services.prices.update import render
from gateway.wire.usage import Usage


def model(provider: str, usd_per_mtok: float, **more: object) -> dict[str, object]:
    return {
        "litellm_provider": provider,
        "mode": "chat",
        "input_cost_per_token": usd_per_mtok / 1e6,
        "output_cost_per_token": 2 * usd_per_mtok / 1e6,
        **more,
    }


@pytest.fixture
def prices() -> Prices:
    models = {
        "gpt-4o": model("openai", 1, max_input_tokens=128_000.0, max_output_tokens=4096),
        "gpt-4o-2024-05-13": model("openai", 9),
        "azure/gpt-4o": model("azure", 2),
        "groq/openai/gpt-oss-120b": model("groq", 3),
        "together_ai/Qwen": model("together_ai", 4),
        "ft:gpt-4o-2024-05-13": model("openai", 8),
        "us.anthropic.claude": model("bedrock_converse", 10),
        "bedrock/us-gov-west-1/us.anthropic.claude": model("bedrock", 11),
        "instruct": model("text-completion-openai", 5),
        'odd"name\\': model("openai", 6),
        "gemini/pro": model(
            "gemini", 7,
            input_cost_per_token_above_200k_tokens=20e-6,
            input_cost_per_token_flex=3e-6,
            input_cost_per_token_above_200k_tokens_flex=10e-6,
        ),
    }  # fmt: skip
    overrides = {("declared", "up/gpt-4o"): PriceOverride(11, 12), ("", "up/gpt-4o"): PriceOverride(13, 14, cached=1)}
    return Prices(render(models, source="test", date="2026-11-01"), overrides)


@pytest.mark.parametrize(
    ("provider_type", "name", "usd_per_mtok"),
    [
        ("openai", "gpt-4o", 1),
        ("openai", "gpt-4o-2024-05-13", 9),
        ("openai", "gpt-4o-2024-08-06", 1),
        ("openai", "gpt-4o-20240806", 1),
        ("azure", "gpt-4o", 2),
        ("azure", "gpt-4o@20240806", 2),
        ("groq", "openai/gpt-oss-120b", 3),
        ("together", "Qwen", 4),
        ("openai", "instruct", 5),
        ("openai", 'odd"name\\', 6),
        ("litellm", "groq/openai/gpt-oss-120b", 3),
        ("litellm", "openai/gpt-4o", 1),
        ("azure_v1", "gpt-4o", 2),
        ("openai", "ft:gpt-4o-2024-05-13:acme:support:9abc", 8),
        ("litellm", "openai/ft:gpt-4o-2024-05-13:acme::9abc", 8),
        ("litellm", "bedrock/us.anthropic.claude", 10),
        ("litellm", "bedrock/converse/us.anthropic.claude", 10),
        ("litellm", "bedrock/invoke/eu-central-1/us.anthropic.claude", 10),
        ("litellm", "bedrock/us-gov-west-1/us.anthropic.claude", 11),
        ("litellm", "bedrock/converse/us-gov-west-1/us.anthropic.claude", 11),
    ],
)
def test_a_model_is_found_by_the_names_that_providers_give_it(
    prices: Prices, provider_type: str, name: str, usd_per_mtok: int
) -> None:
    price = prices.find(provider_type, name)
    assert price is not None
    assert (price.input, price.output) == (usd_per_mtok * 10**6, 2 * usd_per_mtok * 10**6)
    assert prices.find(provider_type, name) is price


@pytest.mark.parametrize(
    ("provider_type", "name"),
    [
        ("groq", "gpt-4o"),
        ("openai", "gpt-4"),
        ("openai", ""),
        ("openai", "models"),
        ("demo", "demo"),
        ("azur", "gpt-4o"),
        ("openai", "ft:gpt-4o:acme::9abc"),
        ("litellm", "openrouter/openai/gpt-4o"),
        ("litellm", "groq/converse/openai/gpt-oss-120b"),
        ("litellm", "bedrock/converse/gpt-4o"),
    ],
)
def test_a_price_is_never_guessed_or_taken_from_another_provider(prices: Prices, provider_type: str, name: str) -> None:
    assert prices.find(provider_type, name) is None


def test_a_declared_price_wins_for_the_models_own_targets_and_nowhere_else(prices: Prices) -> None:
    declared = prices.find("openai", "gpt-4o", ("declared", "up/gpt-4o"))
    direct = prices.find("openai", "gpt-4o", ("", "up/gpt-4o"))
    assert declared is not None
    assert direct is not None
    assert (declared.input, declared.output, declared.cached, declared.reasoning) == (11, 12, 11, 12)
    assert (direct.input, direct.cached) == (13, 1)
    for place in (None, ("smart", "up/gpt-4o"), ("declared", "lab/gpt-4o"), ("", "lab/gpt-4o")):
        known = prices.find("openai", "gpt-4o", place)
        assert known is not None
        assert known.input == 1_000_000
    assert prices.find("lab", "declared", ("declared", "lab/other")) is None


def test_limits_tiers_and_services_come_along(prices: Prices) -> None:
    known = prices.find("openai", "gpt-4o")
    tiered = prices.find("gemini", "pro")
    assert known is not None
    assert tiered is not None
    assert (known.max_input_tokens, known.max_output_tokens) == (128_000, 4096)
    costs = [
        price.cost_nano_usd(Usage(prompt=prompt, completion=100))
        for price in (tiered, tiered.for_service("flex"))
        for prompt in (200_000, 200_100)
    ]
    # Output costs the same everywhere: where a tier or a service names no price, the plain one holds.
    answer = 100 * 14_000
    assert costs == [
        200_000 * 7000 + answer, 200_100 * 20_000 + answer, 200_000 * 3000 + answer, 200_100 * 10_000 + answer
    ]  # fmt: skip


def test_litellm_finds_every_model_of_its_own_map_by_its_providers_name_and_its_own() -> None:
    prices = Prices.load({})
    rows = orjson.loads(files("gateway.services.prices").joinpath(FILE_NAME).read_bytes())["models"]
    for name, row in rows.items():
        provider = row["provider"]
        called = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
        assert prices.find("litellm", name) is not None, name
        assert prices.find("litellm", called) is not None, called


def test_what_is_remembered_of_unknown_names_is_bounded(prices: Prices) -> None:
    for number in range(10_000):
        assert prices.find("openai", f"unknown-{number}") is None
    assert len(prices._known) < 5000


@given(st.text(st.characters(exclude_categories=())))
def test_no_name_breaks_the_search(name: str) -> None:
    Prices.load({}).find("openai", name)


def test_the_packaged_prices_know_todays_models_and_say_where_they_are_from() -> None:
    prices = Prices.load({})
    assert prices.source.startswith("litellm 1.")
    assert len(prices.date) == 10
    price = prices.find("openai", "gpt-4o-mini-2024-07-18")
    assert price is not None
    assert (price.input, price.output, price.cached) == (150_000, 600_000, 75_000)
    assert prices.find("gemini", "gemini-2.5-pro") is not None
    claude = prices.find("anthropic", "claude-sonnet-4-5-20250929")
    assert claude is not None
    assert (claude.input, claude.cache_write, claude.cache_write_1h) == (3_000_000, 3_750_000, 6_000_000)
    embedding = prices.find("openai", "text-embedding-3-small")
    assert embedding is not None
    rerank = prices.find("cohere", "rerank-v3.5")
    assert rerank is not None
    assert rerank.cost_nano_usd(Usage(search_units=2)) == 4_000_000
    assert embedding.cost_nano_usd(Usage(prompt=1_000_000)) == 20_000_000
