"""LM Studio on its usual port (https://lmstudio.ai/docs/developer/openai-compat/chat-completions and
https://lmstudio.ai/docs/developer/openai-compat, read 2026-11)."""

from gateway.providers.billing import Billing
from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="lmstudio",
    base_url="http://127.0.0.1:1234/v1",
    auth=NoAuth(),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "logprobs",
            "metadata",
            "modalities",
            "n",
            "parallel_tool_calls",
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
    probe_path="/v1/models",
    responses=True,
    billing=Billing(bills_after_cancel="no"),
)
