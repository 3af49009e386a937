"""Answers made in the gateway itself, deterministic, so that the first request works with no key and no network."""

from gateway.providers.billing import Billing
from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="demo",
    base_url="demo://local",
    auth=NoAuth(),
    local=True,
    # Its tokens are words, and nobody is billed.
    billing=Billing(fixed_overhead_tokens=0, tools_overhead_tokens=0, tools_tokens_per_byte=1, bills_after_cancel="no"),
)
