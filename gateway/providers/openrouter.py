"""OpenRouter. What the model behind it lacks it leaves out itself; its Responses API keeps nothing, so ours does.

https://openrouter.ai/docs/api/reference/parameters (read 2026-11).
"""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    auth=Bearer(env="OPENROUTER_API_KEY"),
    unsupported=frozenset({"function_call", "functions", "n", "store"}),
)
