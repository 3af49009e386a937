"""AI21's Jamba models (https://docs.ai21.com/reference/jamba-1-6-api-ref, read 2026-11)."""

from gateway.providers.billing import Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="ai21",
    base_url="https://api.ai21.com/studio/v1",
    auth=Bearer(env="AI21_API_KEY"),
    dialect="ai21",
    billing=Billing(bills_after_cancel="yes"),
)
