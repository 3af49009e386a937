"""OpenAI's dialect: reading a client's request, preparing it for an upstream, reading what comes back.

Client and upstream both speak it here, so bytes pass through; what is read on the way is the usage, and
what is changed is the model's name where the client asked for an alias.
Formats: https://platform.openai.com/docs/api-reference (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.splice import replace_leading_model
from gateway.wire.usage import Usage

Document = dict[str, Any]

# Keys that decide who pays for what: a body that names one twice is written anew, so that the upstream
# reads exactly what was judged here, whichever of the two its parser would have taken.
_DECISIVE = (b'"model"', b'"stream"', b'"stream_options"', b'"n"', b'"max_tokens"', b'"max_completion_tokens"')


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of OpenAI's API that has the whole pipeline.

    `name` is the operation's short name in metrics and logs, `path` the client's path, `upstream_path`
    what is appended to a provider's base URL, `input_field` the field that must be there.
    """

    name: str
    path: str
    upstream_path: str
    input_field: str
    streams: bool


CHAT = Endpoint("chat", "/v1/chat/completions", "/chat/completions", "messages", streams=True)
COMPLETIONS = Endpoint("completions", "/v1/completions", "/completions", "prompt", streams=True)
EMBEDDINGS = Endpoint("embeddings", "/v1/embeddings", "/embeddings", "input", streams=False)
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS)


def read_json_object(body: bytes) -> Document:
    """The JSON object in `body`. Raises invalid_json for anything else, deep nesting included."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = "The body is empty." if not body else f"The body is not valid JSON: {error}."
        raise GatewayError("invalid_json", message) from None
    if type(document) is not dict:
        raise GatewayError("invalid_json", "The body must be a JSON object.")
    return document


def read_request(endpoint: Endpoint, body: bytes) -> Document:
    """The parsed request, checked as far as the gateway relies on it; everything else is the provider's to judge.

    Raises invalid_json, missing_field or invalid_field, naming the field.
    """
    document = read_json_object(body)
    model = document.get("model")
    if type(model) is not str or not model or len(model) > 256:
        raise _bad_model(document, model)
    given = document.get(endpoint.input_field)
    if endpoint is CHAT:
        _check_messages(document, given)
    elif given is None:
        raise _missing(endpoint.input_field)
    elif not isinstance(given, (str, list)) or not given:
        raise _invalid(endpoint.input_field, "must be a non-empty string or array")
    stream = document.get("stream")
    if stream is not None and type(stream) is not bool:
        raise _invalid("stream", "must be true or false")
    if stream and not endpoint.streams:
        raise _invalid("stream", "is not supported by this endpoint")
    options = document.get("stream_options")
    if options is not None:
        _check_stream_options(options, streamed=bool(stream))
    return document


def _bad_model(document: Document, model: object) -> GatewayError:
    if model is None and "model" not in document:
        return _missing("model")
    if isinstance(model, str) and model:
        return _invalid("model", "is longer than 256 characters")
    return _invalid("model", "must be a non-empty string")


def _check_messages(document: Document, messages: object) -> None:
    if messages is None and "messages" not in document:
        raise _missing("messages")
    if type(messages) is not list or not messages:
        raise _invalid("messages", "must be a non-empty array")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise _invalid(f"messages[{index}]", "must be an object")
        role = message.get("role")
        if type(role) is not str:
            raise _invalid(f"messages[{index}].role", "must be a string")


def _check_stream_options(options: object, *, streamed: bool) -> None:
    if type(options) is not dict:
        raise _invalid("stream_options", "must be an object")
    if not streamed:
        raise _invalid("stream_options", "is only allowed when stream is true")
    include = options.get("include_usage")
    if include is not None and type(include) is not bool:
        raise _invalid("stream_options.include_usage", "must be true or false")


def _missing(field: str) -> GatewayError:
    return GatewayError("missing_field", f"The field '{field}' is required.", param=field)


def _invalid(field: str, why: str) -> GatewayError:
    return GatewayError("invalid_field", f"The field '{field}' {why}.", param=field)


def wants_usage(document: Document) -> bool:
    """Did the client ask for the usage chunk at the end of its stream?"""
    options = document.get("stream_options")
    return type(options) is dict and options.get("include_usage") is True


@dataclass(frozen=True, slots=True)
class Variations:
    """What one provider's OpenAI dialect lacks or names otherwise; the empty one changes nothing."""

    unsupported: frozenset[str] = frozenset()
    renamed: Mapping[str, str] | None = None
    stream_usage: bool = True


def encode_request(body: bytes, document: Document, model: str, variations: Variations) -> bytes:
    """The bytes for the upstream: the client's own where nothing has to change.

    Changed are the model's name, `stream_options.include_usage` on a stream (unless the provider refuses
    it), and the parameters that the provider lacks or renames. Raises invalid_field for a document that
    nests too deeply to be written.
    """
    alias = document["model"] != model
    ask_usage = variations.stream_usage and document.get("stream") is True and not wants_usage(document)
    adapt = bool(variations.unsupported) or bool(variations.renamed)
    if not ask_usage and not adapt and not _is_ambiguous(body):
        if not alias:
            return body
        spliced = replace_leading_model(body, model)
        if spliced is not None:
            return spliced
    outgoing = dict(document)
    outgoing["model"] = model
    if ask_usage:
        outgoing["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
    for name in variations.unsupported:
        outgoing.pop(name, None)
    for name, new_name in (variations.renamed or {}).items():
        if name in outgoing:
            outgoing[new_name] = outgoing.pop(name)
    try:
        return orjson.dumps(outgoing)
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_json", "The body nests too deeply.") from None


def _is_ambiguous(body: bytes) -> bool:
    """May the body name a decisive key twice, plainly or through escapes?"""
    if b"\\u00" in body:
        return True
    return any(body.count(key) > 1 for key in _DECISIVE)


def _count(holder: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = holder.get(name)
        if type(value) is int and 0 <= value < 2**53:
            return value
    return 0


_NOTHING: Mapping[str, Any] = {}


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = usage.get(name)
        if type(value) is dict:
            return value
    return _NOTHING


def read_usage(usage: object) -> Usage | None:
    """The counts of a `usage` object of any OpenAI endpoint; None if it is no such object.

    Chat says prompt_tokens, the Responses API, images and transcriptions say input_tokens; DeepSeek reports
    cache hits beside them (https://api-docs.deepseek.com/guides/kv_cache, read 2026-11). A count that is not
    a sane integer reads as 0.
    """
    if type(usage) is not dict:
        return None
    counts = Usage(
        prompt=_count(usage, "prompt_tokens", "input_tokens"),
        completion=_count(usage, "completion_tokens", "output_tokens"),
    )
    inner = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    if inner:
        counts.cached = _count(inner, "cached_tokens")
        counts.cache_write = _count(inner, "cache_write_tokens", "cache_creation_tokens")
        counts.audio_in = _count(inner, "audio_tokens")
        counts.image_in = _count(inner, "image_tokens")
    elif "prompt_cache_hit_tokens" in usage:
        counts.cached = _count(usage, "prompt_cache_hit_tokens")
    outer = _details(usage, "completion_tokens_details", "output_tokens_details")
    if outer:
        counts.reasoning = _count(outer, "reasoning_tokens")
        counts.audio_out = _count(outer, "audio_tokens")
        counts.image_out = _count(outer, "image_tokens")
    if not (counts.prompt or counts.completion) and _count(usage, "total_tokens"):
        counts.prompt = _count(usage, "total_tokens")
    return counts
