"""Anthropic's Messages API.

The version header names the older of the two versions that are served (2026-10-21 is the newer): that one has
taken `temperature`, `top_p` and `top_k` away from every model, which the older models still have
(https://platform.claude.com/docs/en/api/versioning, read 2026-11).
"""

from gateway.providers.billing import CLAUDE_IMAGES, Billing
from gateway.providers.provider import HeaderKey, Provider

PROVIDER = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    auth=HeaderKey("x-api-key", "ANTHROPIC_API_KEY"),
    dialect="anthropic",
    headers={"anthropic-version": "2023-06-01"},
    # With tools comes a system prompt of some hundred tokens, which differs by model:
    # https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing (read 2026-11).
    billing=Billing(tools_overhead_tokens=1024, image_tokens=CLAUDE_IMAGES, image_urls=True, bills_after_cancel="no"),
)
