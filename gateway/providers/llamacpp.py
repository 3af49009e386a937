"""llama.cpp's `llama-server` on its usual port, which is the gateway's own too: one of the two has to move.

`/props` is told apart from what else answers there. `max_tokens` is the name that every version knows
(https://github.com/ggml-org/llama.cpp/tree/master/tools/server, read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="llamacpp",
    base_url="http://127.0.0.1:8080/v1",
    auth=NoAuth(),
    unsupported=frozenset(
        {
            "audio",
            "function_call",
            "functions",
            "metadata",
            "modalities",
            "prediction",
            "service_tier",
            "store",
            "user",
            "verbosity",
            "web_search_options",
        }
    ),
    renamed={"max_completion_tokens": "max_tokens"},
    probe_path="/props",
    billing=Billing(bills_after_cancel="no"),
)
