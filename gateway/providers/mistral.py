"""Mistral. A field that it does not know is refused with 422, `stream_options.include_usage` and
`max_completion_tokens` among them; usage comes with the last chunk of every stream.

https://docs.mistral.ai/api (read 2026-11); for stream_options https://github.com/avante-corp/avante.nvim/issues/2347.
"""

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
)
