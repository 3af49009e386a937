"""Which requests are Anthropic clients'."""

from __future__ import annotations

from aiohttp import web

_PATHS = ("/v1/messages", "/anthropic/")


def speaks_anthropic(request: web.BaseRequest) -> bool:
    """By its path, or by the header that Anthropic's clients always send."""
    return request.path.startswith(_PATHS) or "anthropic-version" in request.headers
