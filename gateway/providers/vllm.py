"""vLLM on its usual port; started with `--api-key` it wants that key as a bearer token.

Its Responses API keeps nothing between calls unless told to, so ours does
(https://docs.vllm.ai/en/stable/serving/openai_compatible_server/, read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="vllm",
    base_url="http://127.0.0.1:8000/v1",
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
            "verbosity",
            "web_search_options",
        }
    ),
    probe_path="/version",
    billing=Billing(bills_after_cancel="no"),
)
