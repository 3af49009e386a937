"""OpenRouter (https://openrouter.ai/docs/api-reference, read 2026-11)."""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    auth=Bearer(env="OPENROUTER_API_KEY"),
)
