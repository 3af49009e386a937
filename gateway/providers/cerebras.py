"""Cerebras. It answers 400 to penalties, `logit_bias` and a service tier.

https://inference-docs.cerebras.ai/resources/openai and https://inference-docs.cerebras.ai/api-reference/chat-completions
(read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="cerebras",
    base_url="https://api.cerebras.ai/v1",
    auth=Bearer(env="CEREBRAS_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "metadata",
            "modalities",
            "n",
            "presence_penalty",
            "prompt_cache_key",
            "prompt_cache_retention",
            "service_tier",
            "store",
            "verbosity",
            "web_search_options",
        }
    ),
    billing=Billing(completion_cap_models=("",)),
)
