"""litellm as it is used here: loaded once, told to keep quiet, called with no more than a request's own fields.

It reads any keyword as one of its own settings (`api_base`, `mock_response`, `fallbacks`, paths of credential files,
…): what a client writes gets in by name or not at all. https://docs.litellm.ai/docs/completion/input (read 2026-11).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.lacking import CHAT_PARAMETERS
from gateway.wire.openai_dialect_embeddings import repacked

INSTALL = "pip install 'kubechat-gateway[litellm]'"
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_CALLBACKS = ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback")
_FIELDS: Mapping[str, frozenset[str]] = {
    "chat": CHAT_PARAMETERS - {"metadata", "prompt_cache_retention"} | {"messages"},
    # No `encoding_format`: most providers refuse it, and the packing is done here.
    "embeddings": frozenset({"input", "dimensions", "input_type", "user"}),
}
_DONE_HERE = frozenset({"model", "encoding_format"})


def is_installed() -> bool:
    """Is litellm there? It is not imported for that."""
    return find_spec("litellm") is not None


def load() -> Any:
    """The module; blocks for seconds the first time, and takes some 175 MB. Raises ImportError."""
    # Read while it is imported: else it fetches its prices from the network, and a .env file into the environment.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    library: Any = import_module("litellm")
    library.telemetry = False
    library.suppress_debug_info = True
    library.drop_params = False
    library.modify_params = False
    library.num_retries = 0
    library.user_url_validation = True  # what it fetches itself, images say, never lies inside the network
    for name in _CALLBACKS:
        setattr(library, name, [])
    for name in _LOGGERS:  # prompts and keys are in what it writes
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    return library


@dataclass(frozen=True, slots=True)
class Access:
    """Where a provider is and how one gets in; what is empty litellm finds in the environment."""

    api_key: str = ""
    api_base: str = ""
    api_version: str = ""
    headers: Mapping[str, str] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be in an error's message, the longest first."""
        known = (self.api_key, *(self.headers or {}).values())
        return tuple(sorted((text for text in known if len(text) >= 6), key=len, reverse=True))


def arguments(operation: str, document: Document, access: Access, timeout_s: float) -> dict[str, Any]:
    """The keywords of one call. Raises unsupported_parameter for a field that litellm has no use for."""
    fields = _FIELDS[operation]
    given: dict[str, Any] = {"model": document["model"]}
    for name, value in document.items():
        if value is None or name in _DONE_HERE:
            continue
        if name not in fields:
            message = f"The parameter '{name[:64]}' is not supported through litellm."
            raise GatewayError("unsupported_parameter", message, param=name[:64])
        given[name] = value
    _check_tools(given.get("tools"))
    given.update(timeout=timeout_s, num_retries=0, max_retries=0)
    for name, value in (
        ("api_key", access.api_key),
        ("api_base", access.api_base),
        ("api_version", access.api_version),
    ):
        if value:
            given[name] = value
    if access.headers:
        given["extra_headers"] = dict(access.headers)
    return given


def _check_tools(tools: object) -> None:
    """Tools of other kinds (`mcp`, `file_search`) litellm would call by itself, from inside the gateway."""
    if tools is None:
        return
    kinds = (
        [tool.get("type") if isinstance(tool, dict) else None for tool in tools] if isinstance(tools, list) else [None]
    )
    if any(kind not in ("function", "custom") for kind in kinds):
        raise GatewayError("unsupported_parameter", "Through litellm 'tools' may hold functions only.", param="tools")


def answer_of(reply: Any, operation: str, document: Document) -> Document:
    """litellm's answer object as OpenAI's JSON. Raises ValueError, AttributeError or TypeError for anything else."""
    answer = _dumped(reply)
    if operation == "embeddings":
        if document.get("encoding_format") == "base64":
            for item in answer["data"]:
                item["embedding"] = repacked(item["embedding"])
        return answer
    for choice in answer["choices"]:
        message = choice["message"]
        _tidy(choice, message)
        message.setdefault("content", None)
    return answer


def chunk_of(piece: Any) -> Document:
    """One piece of its stream as OpenAI's chunk. Raises as `answer_of` does."""
    chunk = _dumped(piece)
    choices = chunk["choices"]
    for choice in choices:
        _tidy(choice, choice.setdefault("delta", {}))
    if chunk.get("usage") and not any(choice["delta"] or choice["finish_reason"] for choice in choices):
        chunk["choices"] = []  # the usage's own chunk has no choice at OpenAI's
    return chunk


def _tidy(choice: Document, said: Document) -> None:
    """Leave out what is litellm's own, and put a refusal where OpenAI has it."""
    choice.pop("provider_specific_fields", None)
    own = said.pop("provider_specific_fields", None)
    if isinstance(own, dict) and isinstance(own.get("refusal"), str):
        said.setdefault("refusal", own["refusal"])
    choice.setdefault("finish_reason", None)


def _dumped(given: Any) -> Document:
    document = given.model_dump(mode="json", exclude_none=True, warnings=False)
    if type(document) is not dict:
        raise TypeError("not an object")
    usage = document.get("usage")
    if type(usage) is dict:
        usage.pop("cost", None)  # by litellm's prices, not by those in force here
    return document
