"""SambaNova Cloud. What it lacks it ignores without a word.

https://docs.sambanova.ai/docs/en/features/openai-compatibility (read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="sambanova",
    base_url="https://api.sambanova.ai/v1",
    auth=Bearer(env="SAMBANOVA_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "metadata",
            "modalities",
            "n",
            "prediction",
            "presence_penalty",
            "seed",
            "service_tier",
            "store",
            "top_logprobs",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
    billing=Billing(bills_after_cancel="yes"),
)
