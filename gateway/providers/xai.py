"""xAI. Its reasoning models refuse penalties and `stop` on top of this, with an error that says so.

https://docs.x.ai/docs/api-reference#chat-completions (read 2026-11).
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="xai",
    base_url="https://api.x.ai/v1",
    auth=Bearer(env="XAI_API_KEY"),
    unsupported=frozenset({"audio", "logit_bias", "metadata", "modalities", "prediction", "store", "verbosity"}),
    responses=True,
    billing=Billing(bills_after_cancel="no", unseen_thought_models=("grok-4",), completion_cap_models=("",)),
)
