"""Groq (https://console.groq.com/docs/openai, read 2026-11)."""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    auth=Bearer(env="GROQ_API_KEY"),
    unsupported=frozenset({"logprobs", "logit_bias", "top_logprobs"}),
)
