"""Groq. It answers 400 to logprobs and to `n` over 1, and ignores penalties.

Its Responses API keeps nothing between calls, so ours does.

https://console.groq.com/docs/openai and https://console.groq.com/docs/api-reference#chat-create (read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    auth=Bearer(env="GROQ_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "metadata",
            "modalities",
            "n",
            "prediction",
            "presence_penalty",
            "store",
            "top_logprobs",
            "verbosity",
            "web_search_options",
        }
    ),
    # The `compound` systems search and run code, whatever is asked.
    billing=Billing(unbounded_models=("compound",), bills_after_cancel="yes"),
)
