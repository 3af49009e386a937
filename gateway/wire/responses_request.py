"""A Responses request as a canonical chat request. Pure.

Fields as in https://platform.openai.com/docs/api-reference/responses/create (read 2026-11). Left out, for they change
nothing about which answer is a right one: `include`, `truncation` (too long an input is refused), `stream_options`,
`prompt_cache_options`, `reasoning.summary` (how thoughts are shown) and `store` (the gateway itself stores).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from gateway.wire.responses_items import messages_of
from gateway.wire.responses_tools import put_tools

_TEXTS = (
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
)
# What the gateway's own Responses API does not do, in the words of the refusal.
_REFUSED: Mapping[str, str] = {
    "background": "this model answers at once",
    "prompt": "prompt templates are kept by OpenAI",
    "context_management": "this model's input is not compacted",
    "moderation": "answers of this model are not moderated on the way",
}
# Read or left out here by name.
_KNOWN = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_tool_calls",
        "text",
        "reasoning",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "include",
        "metadata",
        "store",
        "truncation",
        "stream_options",
        "prompt_cache_options",
        "background_options",
        "image",
        "access_programs",
        "previous_response_id",
        "conversation",
        *_TEXTS,
        *_REFUSED,
    }
)
# Chat's names for what has another name here; under them they would go before what was meant.
_OTHERWISE_NAMED = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "n",
        "prediction",
        "reasoning_effort",
        "response_format",
        "verbosity",
        "web_search_options",
    }
)
_LOGPROBS = "message.output_text.logprobs"
_MAX_TOP_LOGPROBS = 20


def to_chat(document: Document) -> Document:
    """The chat request; fields that only some provider knows pass by their name.

    Raises missing_field, invalid_field or unsupported_parameter. What a `previous_response_id`, a `conversation` or
    an `item_reference` stands for must have been put in its place (`responses_history.resolved`).
    """
    _refuse(document)
    chat: Document = {"model": document["model"], "messages": _messages(document)}
    if document.get("stream") is True:
        chat["stream"] = True
    put_tools(document, chat)
    _put_text(document.get("text"), chat)
    _put_reasoning(document.get("reasoning"), chat)
    _put_sampling(document, chat)
    _put_logprobs(document, chat)
    for name in _TEXTS:
        value = optional_text(document, name, "")
        if value is not None:
            chat[name] = value
    _put_metadata(document.get("metadata"), chat)
    for name in document.keys() - _KNOWN:
        if document[name] is not None:
            chat[name] = document[name]
    return chat


def _refuse(document: Document) -> None:
    for name, why in _REFUSED.items():
        if document.get(name):
            raise unsupported(name, why)
    if document.get("conversation") is not None:
        raise unsupported("conversation", "conversations are kept by OpenAI; use previous_response_id")
    if document.get("previous_response_id") is not None:
        raise invalid("previous_response_id", "refers to a response that is not stored here")
    for name in document.keys() & _OTHERWISE_NAMED:
        if document[name] is not None:
            raise unsupported(name, "is no parameter of /v1/responses")
    store = document.get("store")
    if store is not None and type(store) is not bool:
        raise invalid("store", "must be true or false")
    optional_text(document, "truncation", "")


def _messages(document: Document) -> list[Document]:
    instructions = optional_text(document, "instructions", "")
    first: list[Document] = [{"role": "system", "content": instructions}] if instructions else []
    given = document.get("input")
    if given is None:
        raise missing("input")
    if type(given) is str:
        return [*first, {"role": "user", "content": given}]
    messages = messages_of(as_list(given, "input"))
    if not messages:
        raise invalid("input", "must not be empty")
    return first + messages


def _put_text(given: Any, chat: Document) -> None:
    if given is None:
        return
    text = as_object(given, "text")
    verbosity = optional_text(text, "verbosity", "text")
    if verbosity is not None:
        chat["verbosity"] = verbosity
    if text.get("format") is None:
        return
    where = "text.format"
    form = as_object(text["format"], where)
    kind = required_text(form, "type", where)
    if kind == "json_object":
        chat["response_format"] = {"type": "json_object"}
    elif kind == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": _schema(form, where)}
    elif kind != "text":
        raise invalid(f"{where}.type", "must be text, json_object or json_schema")


def _schema(form: Document, where: str) -> Document:
    schema: Document = {"name": required_text(form, "name", where)}
    if form.get("schema") is None:
        raise missing(f"{where}.schema")
    schema["schema"] = as_object(form["schema"], f"{where}.schema")
    description = optional_text(form, "description", where)
    if description is not None:
        schema["description"] = description
    strict = form.get("strict")
    if strict is not None:
        if type(strict) is not bool:
            raise invalid(f"{where}.strict", "must be true or false")
        schema["strict"] = strict
    return schema


def _put_reasoning(given: Any, chat: Document) -> None:
    if given is None:
        return
    reasoning = as_object(given, "reasoning")
    mode = optional_text(reasoning, "mode", "reasoning")
    if mode not in (None, "standard"):
        raise unsupported("reasoning.mode", "this model has one mode")
    for name in ("summary", "generate_summary"):
        optional_text(reasoning, name, "reasoning")
    effort = optional_text(reasoning, "effort", "reasoning")
    if effort is not None:
        chat["reasoning_effort"] = effort


def _put_sampling(document: Document, chat: Document) -> None:
    for name in ("temperature", "top_p"):
        value = document.get(name)
        if value is None:
            continue
        if type(value) not in (int, float):
            raise invalid(name, "must be a number")
        chat[name] = value
    limit = _whole(document, "max_output_tokens")
    if limit is not None:
        chat["max_completion_tokens"] = limit
    _whole(document, "max_tool_calls")


def _whole(document: Document, name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise invalid(name, "must be a whole number above 0")
    return value


def _put_logprobs(document: Document, chat: Document) -> None:
    given = document.get("include")
    include = as_list(given, "include") if given is not None else []
    for index, value in enumerate(include):
        if type(value) is not str:
            raise invalid(f"include[{index}]", "must be a string")
    top = document.get("top_logprobs")
    if top is not None and (type(top) is not int or not 0 <= top <= _MAX_TOP_LOGPROBS):
        raise invalid("top_logprobs", f"must be a whole number from 0 to {_MAX_TOP_LOGPROBS}")
    if top or _LOGPROBS in include:
        chat["logprobs"] = True
    if top:
        chat["top_logprobs"] = top


def _put_metadata(given: Any, chat: Document) -> None:
    if given is None:
        return
    metadata = as_object(given, "metadata")
    for name, value in metadata.items():
        if type(value) is not str:
            raise invalid(f"metadata.{name[:64]}", "must be a string")
    if metadata:
        chat["metadata"] = metadata
