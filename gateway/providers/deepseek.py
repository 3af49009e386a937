"""DeepSeek. Its Responses API keeps nothing (`store` is false in every recorded answer), so ours does.

JSON comes without a schema: `response_format` knows text and json_object.
https://api-docs.deepseek.com/api/create-chat-completion (read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="deepseek",
    base_url="https://api.deepseek.com",
    auth=Bearer(env="DEEPSEEK_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "logit_bias",
            "metadata",
            "modalities",
            "n",
            "prediction",
            "seed",
            "service_tier",
            "store",
            "top_k",
            "user",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
    billing=Billing(bills_after_cancel="no"),
)
