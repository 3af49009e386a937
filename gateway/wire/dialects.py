"""Every dialect but OpenAI's own, found by name and loaded when first asked for: some bring large libraries."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from gateway.wire.dialect import Dialect

# Each module has a DIALECT.
MODULES = {
    "ai21": "gateway.wire.ai21",
    "anthropic": "gateway.wire.anthropic",
    "bedrock": "gateway.wire.bedrock",
    "cohere": "gateway.wire.cohere",
    "gemini": "gateway.wire.gemini",
    "huggingface": "gateway.wire.huggingface",
    "ollama": "gateway.wire.ollama",
    "palm": "gateway.wire.palm",
    "vertex": "gateway.wire.vertex",
}


@cache
def find_dialect(name: str) -> Dialect:
    """The dialect called `name`. Raises KeyError for an unknown one."""
    dialect: Dialect = import_module(MODULES[name]).DIALECT
    return dialect
