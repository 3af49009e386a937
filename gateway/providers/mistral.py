"""Mistral. A field that it does not know is refused with 422, `stream_options.include_usage` and
`max_completion_tokens` among them; usage comes with the last chunk of every stream. Ids of tool calls have nine letters
and digits, any other is refused with 400.

https://docs.mistral.ai/api (read 2026-11); for stream_options https://github.com/avante-corp/avante.nvim/issues/2347,
for the ids https://github.com/anomalyco/opencode/issues/1680.
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    auth=Bearer(env="MISTRAL_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "modalities",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "thinking",
            "top_k",
            "top_logprobs",
            "user",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
    stream_usage=False,
    call_id_characters=9,
    billing=Billing(bills_after_cancel="yes"),
)
