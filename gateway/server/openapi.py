"""The API's description, as served at /openapi.json."""

from __future__ import annotations

import orjson

from gateway import __version__


def openapi_document() -> bytes:
    """OpenAPI 3.1 of what clients may call, as JSON."""
    return orjson.dumps(
        {"openapi": "3.1.0", "info": {"title": "KubeChat LLM gateway", "version": __version__}, "paths": {}}
    )
