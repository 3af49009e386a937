"""Azure OpenAI's v1 API: OpenAI's own paths, the deployment's name as the model.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (read 2026-11). `base_url` is the resource's
own, e.g. https://name.openai.azure.com, so it must be given. No version has to be named; what it lists are the
models that can be deployed.
"""

from gateway.providers.azure import BILLING
from gateway.providers.provider import Provider, Signed

PROVIDER = Provider(
    keeps_foreign=False,
    name="azure_v1",
    base_url="",
    auth=Signed("entra", env="AZURE_OPENAI_API_KEY", header="api-key", secrets=("AZURE_CLIENT_SECRET",)),
    paths={
        "chat": "/openai/v1/chat/completions",
        "completions": "/openai/v1/completions",
        "embeddings": "/openai/v1/embeddings",
        "responses": "/openai/v1/responses",
    },
    models_path="/openai/v1/models",
    responses=True,
    billing=BILLING,
)
