"""OpenRouter. What the model behind it lacks it leaves out itself; its Responses API keeps nothing, so ours does.

https://openrouter.ai/docs/api/reference/parameters (read 2026-11).
"""

from gateway.providers.billing import CLAUDE_IMAGES, GEMINI_IMAGES, GPT_IMAGES, Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    auth=Bearer(env="OPENROUTER_API_KEY"),
    unsupported=frozenset({"function_call", "functions", "n", "store"}),
    # `:online` searches, as some models do by themselves; whether a cut stream goes on is up to who serves it.
    # https://openrouter.ai/docs/guides/features/plugins/web-search (read 2026-11)
    billing=Billing(
        image_tokens=CLAUDE_IMAGES + GEMINI_IMAGES + GPT_IMAGES,
        unbounded_models=(":online", "perplexity/", "search", "deep-research"),
    ),
)
