"""What providers are said to bill for at most."""

from __future__ import annotations

import pytest

from gateway.providers.billing import Billing
from gateway.providers.provider import Provider
from gateway.providers.registry import PROVIDERS


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_no_provider_s_figures_can_make_a_bound_smaller_than_its_bytes(provider: Provider) -> None:
    billing = provider.billing
    assert billing.prompt_tokens_per_byte >= 1
    assert billing.tools_tokens_per_byte >= 1
    assert billing.fixed_overhead_tokens >= 0
    assert billing.tools_overhead_tokens >= 0
    assert all(tokens > 0 for _, tokens in billing.image_tokens)


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", 48_169),
        ("openai", "gpt-4o", 1_445),
        ("openai", "gpt-5.6", 73_800),
        ("openai", "a-model-of-my-own", 73_800),
        ("azure", "gpt-4o", 73_800),
        ("anthropic", "claude-sonnet-4-5", 8_500),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 8_500),
        ("bedrock", "amazon.nova-lite-v1:0", None),
        ("openrouter", "google/gemini-3-flash", 6_192),
        ("groq", "llama", None),
    ],
)
def test_the_largest_image_is_the_model_s(provider: str, model: str, tokens: int | None) -> None:
    assert PROVIDERS[provider].billing.image_bound(model) == tokens


def test_no_model_refuses_the_usual_name_of_the_cap_unless_it_is_said() -> None:
    assert Billing().cap_field("anything") == "max_tokens"
    assert Billing(completion_cap_models=("",)).cap_field("anything") == "max_completion_tokens"


@pytest.mark.parametrize(
    ("provider", "model", "host", "encodings"),
    [
        ("openai", "gpt-4o", "api.openai.com", ("o200k_base",)),
        ("openai", "gpt-4o-mini-2024-07-18", "eu.api.openai.com", ("o200k_base",)),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::id", "api.openai.com", ("o200k_base",)),
        ("openai", "gpt-5.4-mini", "api.openai.com", ("o200k_base",)),
        ("openai", "gpt-4", "api.openai.com", ("cl100k_base",)),
        ("openai", "gpt-4-turbo", "api.openai.com", ("cl100k_base",)),
        ("openai", "text-embedding-3-small", "api.openai.com", ("cl100k_base",)),
        ("openai", "gpt-4.7", "api.openai.com", ()),
        ("openai", "gpt-6", "api.openai.com", ()),
        ("openai", "gpt-4o", "127.0.0.1:8000", ()),
        ("openai", "gpt-4o", "evilapi.openai.com.example", ()),
        ("openai", "gpt-4o", "evil-api.openai.com", ()),
        ("azure", "gpt-4", "acme.openai.azure.com", ("o200k_base", "cl100k_base")),
        ("azure_v1", "gpt-35-turbo", "acme.services.ai.azure.com", ("o200k_base", "cl100k_base")),
        ("azure", "our-deployment", "acme.openai.azure.com", ()),
        ("groq", "gpt-4o", "api.groq.com", ()),
    ],
)
def test_a_vocabulary_is_known_for_a_provider_s_own_models_at_its_own_hosts(
    provider: str, model: str, host: str, encodings: tuple[str, ...]
) -> None:
    assert PROVIDERS[provider].billing.encodings_of(model, host) == encodings
