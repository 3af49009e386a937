"""Fireworks AI (https://docs.fireworks.ai/tools-sdks/openai-compatibility and
https://docs.fireworks.ai/api-reference/post-chatcompletions, read 2026-11)."""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    auth=Bearer(env="FIREWORKS_API_KEY"),
    unsupported=frozenset(
        {"audio", "modalities", "prompt_cache_retention", "store", "verbosity", "web_search_options"}
    ),
    responses=True,
    billing=Billing(bills_after_cancel="no"),
)
