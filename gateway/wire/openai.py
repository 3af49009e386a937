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
from gateway.wire.call_ids import PlainId, exactly, with_plain_ids
from gateway.wire.checks import invalid, missing
from gateway.wire.dialect import Document
from gateway.wire.duplicates import is_ambiguous
from gateway.wire.endpoint import Endpoint
from gateway.wire.splice import insert_member, replace_only_model
from gateway.wire.usage import Usage

# orjson reads 1,024 levels and writes 254 (3.11): what could not be written anew is refused whichever way it goes.
_MAX_LEVELS = 254
_TOO_DEEP = f"The body nests deeper than {_MAX_LEVELS} levels."

_ASK_USAGE = b'"stream_options":{"include_usage":true}'


CHAT = Endpoint("chat", "/v1/chat/completions", "/chat/completions", "chat", input_field="messages", streams=True)
COMPLETIONS = Endpoint("completions", "/v1/completions", "/completions", "completions", "prompt", streams=True)
EMBEDDINGS = Endpoint("embeddings", "/v1/embeddings", "/embeddings", "embeddings", "input")
OPENAI_ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS)


def read_json_object(body: bytes) -> Document:
    """The JSON object in `body`. Raises invalid_json for anything else, deep nesting included."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = "The body is empty." if not body else f"The body is not valid JSON: {error}."
        raise GatewayError("invalid_json", message) from None
    if type(document) is not dict:
        raise GatewayError("invalid_json", "The body must be a JSON object.")
    if len(body) >= 2 * _MAX_LEVELS and body.count(b"[") + body.count(b"{") > _MAX_LEVELS:
        _check_depth(document)
    return document


def _check_depth(document: Document) -> None:
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_json", _TOO_DEEP) from None


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
        raise missing(endpoint.input_field)
    elif not isinstance(given, (str, list)) or (not given and given != ""):
        raise invalid(endpoint.input_field, "must be a string or a non-empty array")
    stream = document.get("stream")
    if stream is not None and type(stream) is not bool:
        raise invalid("stream", "must be true or false")
    if stream and not endpoint.streams:
        raise invalid("stream", "is not supported by this endpoint")
    options = document.get("stream_options")
    if options is not None:
        _check_stream_options(options, streamed=bool(stream))
    return document


def _bad_model(document: Document, model: object) -> GatewayError:
    if model is None and "model" not in document:
        return missing("model")
    if isinstance(model, str) and model:
        return invalid("model", "is longer than 256 characters")
    return invalid("model", "must be a non-empty string")


def _check_messages(document: Document, messages: object) -> None:
    if messages is None and "messages" not in document:
        raise missing("messages")
    if type(messages) is not list or not messages:
        raise invalid("messages", "must be a non-empty array")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise invalid(f"messages[{index}]", "must be an object")
        role = message.get("role")
        if type(role) is not str:
            raise invalid(f"messages[{index}].role", "must be a string")


def _check_stream_options(options: object, *, streamed: bool) -> None:
    if type(options) is not dict:
        raise invalid("stream_options", "must be an object")
    if not streamed:
        raise invalid("stream_options", "is only allowed when stream is true")
    include = options.get("include_usage")
    if include is not None and type(include) is not bool:
        raise invalid("stream_options.include_usage", "must be true or false")


def wants_usage(document: Document) -> bool:
    """Did the client ask for the usage chunk at the end of its stream?"""
    options = document.get("stream_options")
    return type(options) is dict and options.get("include_usage") is True


@dataclass(frozen=True, slots=True)
class Variations:
    """What one provider's OpenAI dialect lacks or names otherwise; the empty one changes nothing.

    `call_id_characters` is how many letters and digits it wants the ids of tool calls to have; 0 for any.
    """

    unsupported: frozenset[str] = frozenset()
    renamed: Mapping[str, str] | None = None
    stream_usage: bool = True
    call_id_characters: int = 0

    @property
    def plain_id(self) -> PlainId | None:
        """What makes the ids of calls such as it takes; None where it takes any."""
        return exactly(self.call_id_characters) if self.call_id_characters else None


def encode_request(body: bytes, document: Document, model: str, variations: Variations, *, flat: bool = False) -> bytes:
    """The bytes for the upstream: the client's own, but for what has to change.

    Changed are the model's name, `stream_options.include_usage` on a stream (asked for, or left out where the provider
    refuses it), the parameters that the provider lacks or renames, and ids of tool calls that it refuses. `flat`: it is
    known to be so (wire/flat.py), which spares looking for what cannot be there. Raises invalid_json for a document
    that nests too deeply to be written.
    """
    streams = document.get("stream") is True
    ask_usage = streams and variations.stream_usage and not wants_usage(document)
    if not _needs_rewrite(body, document, variations, flat=flat):
        outgoing: bytes | None = body
        if document["model"] != model:
            outgoing = replace_only_model(body, model)
        if ask_usage and outgoing is not None:
            outgoing = insert_member(outgoing, _ASK_USAGE) if "stream_options" not in document else None
        if outgoing is not None:
            return outgoing
    return _rewrite(document, model, variations, ask_usage=ask_usage)


def _needs_rewrite(body: bytes, document: Document, variations: Variations, *, flat: bool) -> bool:
    """Is there more to change than the model's name and the wish for usage?"""
    if variations.unsupported and not variations.unsupported.isdisjoint(document):
        return True
    if variations.renamed and any(name in document for name in variations.renamed):
        return True
    if not variations.stream_usage and "stream_options" in document:
        return True
    if variations.call_id_characters and b'"tool_call' in body:
        return True
    return not flat and is_ambiguous(body, document)


def _rewrite(document: Document, model: str, variations: Variations, *, ask_usage: bool) -> bytes:
    outgoing = dict(document)
    outgoing["model"] = model
    if ask_usage:
        outgoing["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
    elif not variations.stream_usage:
        outgoing.pop("stream_options", None)
    for name in variations.unsupported:
        outgoing.pop(name, None)
    for name, new_name in (variations.renamed or {}).items():
        if name in outgoing:
            outgoing[new_name] = outgoing.pop(name)
    plain_id, messages = variations.plain_id, outgoing.get("messages")
    if plain_id is not None and type(messages) is list:
        outgoing["messages"] = [
            with_plain_ids(message, plain_id) if type(message) is dict else message for message in messages
        ]
    try:
        return orjson.dumps(outgoing)
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_json", _TOO_DEEP) from None


def _sane(value: object) -> int:
    """A count that money can be computed from, else 0."""
    return value if type(value) is int and 0 <= value < 2**53 else 0


_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"})


_PROMPT_DETAILS = {
    "cached_tokens": "cached",
    "cache_write_tokens": "cache_write",
    "cache_creation_tokens": "cache_write",
    "audio_tokens": "audio_in",
    "image_tokens": "image_in",
}
_COMPLETION_DETAILS = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_out", "image_tokens": "image_out"}


def _read_details(counts: Usage, details: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for name, count in details.items():
        if count and name in names and (sane := _sane(count)):
            setattr(counts, names[name], sane)


def read_usage(usage: object) -> Usage | None:
    """The counts of a `usage` object of any OpenAI endpoint; None if it is no such object or counts no tokens.

    Chat says prompt_tokens, the Responses API, images and transcriptions say input_tokens; DeepSeek reports
    cache hits beside them (https://api-docs.deepseek.com/guides/kv_cache, read 2026-11), litellm what was written to
    the cache by how long it is kept. A count that is not a sane integer reads as 0.
    """
    if type(usage) is not dict or _COUNTS.isdisjoint(usage):
        return None
    get = usage.get
    counts = Usage(
        _sane(get("prompt_tokens")) or _sane(get("input_tokens")),
        _sane(get("completion_tokens")) or _sane(get("output_tokens")),
    )
    inner = get("prompt_tokens_details") or get("input_tokens_details") or get("input_token_details")
    if type(inner) is dict:
        _read_details(counts, inner, _PROMPT_DETAILS)
        if counts.cache_write and type(kinds := inner.get("cache_creation_token_details")) is dict:
            counts.cache_write_1h = min(_sane(kinds.get("ephemeral_1h_input_tokens")), counts.cache_write)
    elif cached := get("prompt_cache_hit_tokens"):
        counts.cached = _sane(cached)
    outer = get("completion_tokens_details") or get("output_tokens_details")
    if type(outer) is dict:
        _read_details(counts, outer, _COMPLETION_DETAILS)
    if not (counts.prompt or counts.completion):
        counts.prompt = _sane(usage.get("total_tokens"))
    return counts
