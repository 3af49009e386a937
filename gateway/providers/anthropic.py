"""Anthropic's Messages API.

The version header names the older of the two versions that are served (2026-10-21 is the newer): that one has
taken `temperature`, `top_p` and `top_k` away from every model, which the older models still have
(https://platform.claude.com/docs/en/api/versioning, read 2026-11).
"""

from gateway.providers.provider import HeaderKey, Provider

PROVIDER = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    auth=HeaderKey("x-api-key", "ANTHROPIC_API_KEY"),
    dialect="anthropic",
    headers={"anthropic-version": "2023-06-01"},
)
