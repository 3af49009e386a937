"""Azure OpenAI by deployments and dated API versions; `azure_v1` is the newer form.

https://learn.microsoft.com/azure/ai-foundry/openai/reference (read 2026-11). `base_url` is the resource's own, e.g.
https://name.openai.azure.com, so it must be given; the model is the deployment's name. The version is the last
dated one that is generally available. What it lists are the models that can be deployed: the deployments themselves
are the management API's to tell.
"""

from gateway.providers.billing import AZURE_ENCODINGS, GPT_IMAGES_MOST, Billing
from gateway.providers.provider import Provider, Signed

_DEPLOYMENT = "/openai/deployments/{model}"
_VERSION = "?api-version={api_version}"

# A deployment's name does not tell its model, though one that is a model of OpenAI's is taken to stand for one of them,
# as it is for its price.
BILLING = Billing(
    tokens_per_image=GPT_IMAGES_MOST,
    image_urls=True,
    bills_after_cancel="no",
    unseen_thought_models=("",),
    completion_cap_models=("",),
    encodings=AZURE_ENCODINGS,
    encoding_hosts=("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
)
PROVIDER = Provider(
    keeps_foreign=False,
    name="azure",
    base_url="",
    auth=Signed("entra", env="AZURE_OPENAI_API_KEY", header="api-key", secrets=("AZURE_CLIENT_SECRET",)),
    options={"api_version": "2024-10-21"},
    paths={
        "chat": f"{_DEPLOYMENT}/chat/completions{_VERSION}",
        "completions": f"{_DEPLOYMENT}/completions{_VERSION}",
        "embeddings": f"{_DEPLOYMENT}/embeddings{_VERSION}",
    },
    models_path=f"/openai/models{_VERSION}",
    billing=BILLING,
)
