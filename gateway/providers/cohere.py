"""Cohere v2 (https://docs.cohere.com/v2/reference/about; models: https://docs.cohere.com/reference/list-models,
read 2026-11)."""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="cohere",
    base_url="https://api.cohere.com",
    auth=Bearer(env="COHERE_API_KEY"),
    dialect="cohere",
    models_path="/v1/models?page_size=1000",
)
