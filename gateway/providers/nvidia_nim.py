"""NVIDIA NIM, hosted; a container of one's own has its own `base_url`, and needs no key.

Which fields a model takes is each container's affair: these are known to all of them.
https://docs.nvidia.com/nim/large-language-models/latest/reference/api-reference.html (read 2026-11).
"""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="nvidia_nim",
    base_url="https://integrate.api.nvidia.com/v1",
    auth=Bearer(env="NVIDIA_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "metadata",
            "modalities",
            "parallel_tool_calls",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
)
