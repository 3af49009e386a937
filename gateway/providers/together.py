"""Together AI. Its `logprobs` is a number, and what it answers has not OpenAI's shape, so it counts as lacking.

https://docs.together.ai/docs/inference/openai-compatibility and https://docs.together.ai/reference/chat-completions
(read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="together",
    base_url="https://api.together.ai/v1",
    auth=Bearer(env="TOGETHER_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "logprobs",
            "metadata",
            "modalities",
            "prediction",
            "service_tier",
            "store",
            "top_logprobs",
            "user",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
    billing=Billing(bills_after_cancel="no"),
)
