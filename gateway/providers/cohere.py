"""Cohere v2 (https://docs.cohere.com/v2/reference/about; models: https://docs.cohere.com/reference/list-models,
read 2026-11)."""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="cohere",
    base_url="https://api.cohere.com",
    auth=Bearer(env="COHERE_API_KEY"),
    dialect="cohere",
    models_path="/v1/models?page_size=1000",
    # Recorded calls have up to 500 tokens of Cohere's own before any prompt, and 1,300 with tools.
    billing=Billing(fixed_overhead_tokens=768, tools_overhead_tokens=1536, bills_after_cancel="no"),
)
