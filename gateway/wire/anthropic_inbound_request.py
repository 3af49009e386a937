"""Requests in Anthropic's format: the check of what the gateway relies on, and the same request in canonical form.

https://platform.claude.com/docs/en/api/messages and .../messages-count-tokens (read 2026-11). Like Anthropic's own
API, which answers 400 to a field that it does not know, this refuses what it cannot translate.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound_messages import read_messages
from gateway.wire.anthropic_inbound_tools import read_tool_choice, read_tools
from gateway.wire.checks import (
    as_list,
    as_object,
    invalid,
    missing,
    optional_text,
    required_text,
    unsupported,
)
from gateway.wire.dialect import Document
from gateway.wire.openai import read_json_object

_MAX_MODEL = 256
# The longest `user` that OpenAI and Azure take; coding agents send more than that.
_MAX_USER = 64
# What is read here, and in the messages.
_TRANSLATED = frozenset(
    {
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
# How Anthropic's servers go about it: what they clear from a long prompt, how fast, whom they bill, what they tell.
_WITHOUT_MEANING_ELSEWHERE = frozenset({"context_management", "diagnostics", "speed", "user_profile_id"})
# Values that ask for nothing.
_NEUTRAL: dict[str, tuple[object, ...]] = {"container": ({},), "inference_geo": ("global",), "mcp_servers": ([],)}
# OpenAI's words for Anthropic's; its highest level of effort has another name.
_TIERS = {"auto": "auto", "standard_only": "default"}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
_THINKING = frozenset({"enabled", "adaptive", "disabled", "between_tools"})
# Anthropic has no name for a schema, OpenAI demands one.
_SCHEMA_NAME = "answer"


def read_request(body: bytes, *, counts_only: bool = False) -> Document:
    """The JSON object of a request, checked as far as the gateway relies on it.

    `counts_only` is for token counting, which has no `max_tokens`. Raises invalid_json, missing_field or
    invalid_field naming the field.
    """
    document = read_json_object(body)
    model = document.get("model")
    if type(model) is not str or not model or len(model) > _MAX_MODEL:
        raise _bad_model(model)
    _check_messages(document.get("messages"))
    limit = document.get("max_tokens")
    if limit is None:
        if not counts_only:
            raise missing("max_tokens")
    elif type(limit) is not int or limit < 1:
        raise invalid("max_tokens", "must be a positive whole number of tokens")
    stream = document.get("stream")
    if stream is not None and type(stream) is not bool:
        raise invalid("stream", "must be true or false")
    return document


def _bad_model(model: object) -> GatewayError:
    if model is None:
        return missing("model")
    if isinstance(model, str) and model:
        return invalid("model", f"is longer than {_MAX_MODEL} characters")
    return invalid("model", "must be a non-empty string")


def _check_messages(messages: object) -> None:
    if messages is None:
        raise missing("messages")
    if type(messages) is not list or not messages:
        raise invalid("messages", "must be a non-empty array")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise invalid(f"messages[{index}]", "must be an object")
        if type(message.get("role")) is not str:
            raise invalid(f"messages[{index}].role", "must be a string")


def canonical_request(document: Document) -> Document:
    """`document`, which `read_request` gave, as a canonical chat request.

    The limit stays `max_tokens`: it is the older name, which every upstream reads or has a rename for. Raises
    missing_field, invalid_field or unsupported_parameter naming the field.
    """
    _refuse_unknown(document)
    request: Document = {"model": document["model"], "messages": read_messages(document)}
    if document.get("max_tokens") is not None:
        request["max_tokens"] = document["max_tokens"]
    if document.get("stream"):
        request["stream"] = True
    for name in ("temperature", "top_p", "top_k"):
        value = document.get(name)
        if value is not None:
            if type(value) is not int and type(value) is not float:
                raise invalid(name, "must be a number")
            request[name] = value
    stops = document.get("stop_sequences")
    if stops:
        if not all(type(stop) is str for stop in as_list(stops, "stop_sequences")):
            raise invalid("stop_sequences", "must be an array of strings")
        request["stop"] = stops
    read_tools(document, request)
    read_tool_choice(document, request)
    _read_thinking(document, request)
    _read_output(document, request)
    _read_origin(document, request)
    return request


def _refuse_unknown(document: Document) -> None:
    for name, value in document.items():
        if name in _TRANSLATED or name in _WITHOUT_MEANING_ELSEWHERE or value is None:
            continue
        if value not in _NEUTRAL.get(name, ()):
            raise unsupported(name[:64], "this model cannot be asked for it; leave the field out")


def _read_thinking(document: Document, request: Document) -> None:
    given = document.get("thinking")
    if given is None:
        return
    thinking = as_object(given, "thinking")
    kind = required_text(thinking, "type", "thinking")
    if kind not in _THINKING:
        raise invalid("thinking.type", f"must be one of {', '.join(sorted(_THINKING))}")
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and budget is None:
        raise missing("thinking.budget_tokens")
    if budget is not None and (type(budget) is not int or budget < 1):
        raise invalid("thinking.budget_tokens", "must be a positive whole number of tokens")
    request["thinking"] = thinking


def _read_output(document: Document, request: Document) -> None:
    """What the answer is to look like, and how much work is to go into it."""
    config = document.get("output_config")
    # The older name of output_config.format, from when it was in beta.
    wanted, where = document.get("output_format"), "output_format"
    if config is not None:
        config = as_object(config, "output_config")
        effort = optional_text(config, "effort", "output_config")
        if effort is not None:
            if effort not in _EFFORTS:
                raise invalid("output_config.effort", f"must be one of {', '.join(_EFFORTS)}")
            request["reasoning_effort"] = _EFFORTS[effort]
        if config.get("format") is not None:
            wanted, where = config["format"], "output_config.format"
    if wanted is not None:
        request["response_format"] = _response_format(as_object(wanted, where), where)


def _response_format(wanted: Document, where: str) -> Document:
    kind = required_text(wanted, "type", where)
    if kind != "json_schema":
        raise unsupported(f"{where}.type", f"the format '{kind[:64]}' is not known")
    schema: Any = wanted.get("schema")
    if schema is None:
        raise missing(f"{where}.schema")
    # Anthropic promises that the answer fits the schema.
    made = {"name": _SCHEMA_NAME, "schema": as_object(schema, f"{where}.schema"), "strict": True}
    return {"type": "json_schema", "json_schema": made}


def _read_origin(document: Document, request: Document) -> None:
    """Who asks, and on which terms."""
    metadata = document.get("metadata")
    if metadata is not None:
        user = optional_text(as_object(metadata, "metadata"), "user_id", "metadata")
        if user:
            request["user"] = user if len(user) <= _MAX_USER else sha256(user.encode()).hexdigest()
    tier = optional_text(document, "service_tier", "")
    if tier is not None:
        if tier not in _TIERS:
            raise invalid("service_tier", f"must be one of {', '.join(_TIERS)}")
        request["service_tier"] = _TIERS[tier]
