"""Hugging Face's inference router; a dedicated endpoint or server of one's own has its own `base_url`.

A `base_url` is given without `/v1`: the paths of the router's embeddings are beside it.
https://huggingface.co/docs/inference-providers (read 2026-11)
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="huggingface",
    base_url="https://router.huggingface.co",
    auth=Bearer(env="HF_TOKEN"),
    dialect="huggingface",
    options={"embeddings": "feature-extraction"},
    models_path="/v1/models",
    billing=Billing(bills_after_cancel="yes"),
)
