"""Perplexity. Its Agent API is OpenAI's Responses API, below `/v1`.

Chat completions (Sonar) ended on 2026-09-27: a chat request is answered with an error that says so. What Sonar lacked
is kept for servers that still speak it. https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/overview and
https://docs.perplexity.ai/docs/sonar/openai-compatibility (read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="perplexity",
    base_url="https://api.perplexity.ai/v1",
    auth=Bearer(env="PERPLEXITY_API_KEY"),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "modalities",
            "n",
            "parallel_tool_calls",
            "prediction",
            "seed",
            "service_tier",
            "stop",
            "store",
            "tool_choice",
            "tools",
            "top_logprobs",
            "verbosity",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
    responses=True,
    # Every model searches, and each search is billed: https://docs.perplexity.ai/docs/getting-started/pricing.
    billing=Billing(unbounded_models=("",), bills_after_cancel="yes"),
)
