"""Messages of Anthropic's format as canonical ones.

https://platform.claude.com/docs/en/api/messages (read 2026-11). A user message may hold the results of tools beside
other content; in the canonical form each result is a message of its own, and they come first because they must
follow the calls. What the provider's own tools did in an earlier answer is left out: its results are encrypted for
that provider, and what the model made of them stands in its words.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.wire.anthropic_inbound_thinking import CLAUDE_FORMAT, read_redacted, read_thinking
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

_SERVER_CALLS = frozenset({"server_tool_use", "mcp_tool_use"})
_THINKING = frozenset({"thinking", "redacted_thinking"})
_MAX_MEDIA_TYPE = 100


def read_messages(document: Document) -> list[Document]:
    """The conversation, the system prompt first. Raises missing_field, invalid_field or unsupported_parameter."""
    messages: list[Document] = []
    system = document.get("system")
    if system is not None:
        content = _text_content(system, "system")
        if content:
            messages.append({"role": "system", "content": content})
    for index, message in enumerate(document["messages"]):
        where = f"messages[{index}].content"
        role = message["role"]
        content = message.get("content")
        if content is None:
            raise missing(where)
        if role == "user":
            _read_user(content, where, messages)
        elif role == "assistant":
            _read_assistant(content, where, messages)
        elif role == "system":
            messages.append({"role": "system", "content": _text_content(content, where)})
        else:
            raise invalid(f"messages[{index}].role", "must be user, assistant or system")
    mark = document.get("cache_control")
    if mark is not None and messages:
        # Anthropic's automatic caching: the whole prompt up to its last block.
        messages[-1].setdefault("cache_control", as_object(mark, "cache_control"))
    return messages


def _blocks(content: Any, where: str) -> list[tuple[Document, str, str]]:
    """Each block with its place and type."""
    found = []
    for index, value in enumerate(as_list(content, where)):
        place = f"{where}[{index}]"
        block = as_object(value, place)
        found.append((block, place, required_text(block, "type", place)))
    return found


def _text_content(content: Any, where: str) -> str | list[Document]:
    """Content that may be text only."""
    if type(content) is str:
        return content
    parts = []
    for block, place, kind in _blocks(content, where):
        if kind != "text":
            raise _unknown(place, kind)
        parts.append(_text(block, place))
    return _plain(parts)


def _plain(parts: list[Document]) -> str | list[Document]:
    """`parts`, or the text alone where it is one part without a mark: what every upstream understands."""
    if not parts:
        return ""
    only = parts[0]
    return only["text"] if len(parts) == 1 and len(only) == 2 and only["type"] == "text" else parts


def _unknown(place: str, kind: str) -> Exception:
    return unsupported(place, f"content of type '{kind[:64]}' is not supported by this model")


def _read_user(content: Any, where: str, messages: list[Document]) -> None:
    if type(content) is str:
        messages.append({"role": "user", "content": content})
        return
    parts: list[Document] = []
    results = False
    for block, place, kind in _blocks(content, where):
        if kind == "tool_result":
            messages.append(_result(block, place))
            results = True
        else:
            _add_parts(parts, block, place, kind)
    if parts or not results:
        messages.append({"role": "user", "content": _plain(parts)})


def _result(block: Document, place: str) -> Document:
    message: Document = {"role": "tool", "tool_call_id": required_text(block, "tool_use_id", place)}
    content = block.get("content")
    if content is None or type(content) is str:
        message["content"] = content or ""
    else:
        parts: list[Document] = []
        for inner, inner_place, kind in _blocks(content, f"{place}.content"):
            _add_parts(parts, inner, inner_place, kind)
        message["content"] = _plain(parts)
    if block.get("is_error") is True:
        message["is_error"] = True
    return _marked(message, block, place)


def _add_parts(parts: list[Document], block: Document, place: str, kind: str) -> None:
    """Put what `block` stands for behind `parts`."""
    if kind == "text":
        parts.append(_text(block, place))
    elif kind == "image":
        parts.append(_marked({"type": "image_url", "image_url": {"url": _image_url(block, place)}}, block, place))
    elif kind == "document":
        _add_document(parts, block, place)
    elif kind == "search_result":
        parts.append(_search_result(block, place))
    elif kind == "tool_reference":
        # The tool it names is among the request's tools, which all go to the model from the start.
        parts.append({"type": "text", "text": required_text(block, "tool_name", place)})
    else:
        raise _unknown(place, kind)


def _text(block: Document, place: str) -> Document:
    return _marked({"type": "text", "text": required_text(block, "text", place)}, block, place)


def _marked(part: Document, block: Document, place: str) -> Document:
    """`part` with the block's mark of a prefix to cache, where it has one."""
    mark = block.get("cache_control")
    if mark is not None:
        part["cache_control"] = as_object(mark, f"{place}.cache_control")
    return part


def _source(block: Document, place: str) -> tuple[Document, str, str]:
    where = f"{place}.source"
    source = as_object(block.get("source"), where)
    return source, where, required_text(source, "type", where)


def _image_url(block: Document, place: str) -> str:
    source, where, kind = _source(block, place)
    if kind == "base64":
        return _data_uri(source, where)
    if kind == "url":
        return required_text(source, "url", where)
    raise unsupported(where, f"images of source '{kind[:64]}' can only be sent to the provider that holds them")


def _data_uri(source: Document, where: str) -> str:
    media_type = required_text(source, "media_type", where)
    words = media_type.translate({ord(sign): "a" for sign in "/+-._"})
    if not words.isalnum() or not words.isascii() or len(words) > _MAX_MEDIA_TYPE:
        raise invalid(f"{where}.media_type", "must be a media type")
    return f"data:{media_type};base64,{required_text(source, 'data', where)}"


def _add_document(parts: list[Document], block: Document, place: str) -> None:
    source, where, kind = _source(block, place)
    title = optional_text(block, "title", place)
    context = optional_text(block, "context", place)
    if kind in ("base64", "url"):
        if context:
            parts.append({"type": "text", "text": context})
        if kind == "base64":
            uri = _data_uri(source, where)
            name = title or ("document.pdf" if uri.startswith("data:application/pdf;") else "document")
            file: Document = {"filename": name, "file_data": uri}
        else:
            file = {"file_url": required_text(source, "url", where), **({"filename": title} if title else {})}
        parts.append(_marked({"type": "file", "file": file}, block, place))
    elif kind == "text":
        said = _framed("document", required_text(source, "data", where), title=title, context=context)
        parts.append(_marked({"type": "text", "text": said}, block, place))
    elif kind == "content":
        _add_pieces(parts, source, where)
        _marked(parts[-1], block, place)
    else:
        raise unsupported(where, f"documents of source '{kind[:64]}' can only be sent to the provider that holds them")


def _add_pieces(parts: list[Document], source: Document, where: str) -> None:
    """A document that is made of blocks: its text and images. Raises invalid_field for none."""
    content = source.get("content")
    if type(content) is str:
        parts.append({"type": "text", "text": content})
        return
    blocks = _blocks(content, f"{where}.content")
    if not blocks:
        raise invalid(f"{where}.content", "must not be empty")
    for block, place, kind in blocks:
        if kind not in ("text", "image"):
            raise _unknown(place, kind)
        _add_parts(parts, block, place, kind)


def _search_result(block: Document, place: str) -> Document:
    where = f"{place}.content"
    texts = []
    for inner, inner_place, kind in _blocks(block.get("content"), where):
        if kind != "text":
            raise _unknown(inner_place, kind)
        texts.append(required_text(inner, "text", inner_place))
    source = required_text(block, "source", place)
    said = _framed("search_result", "\n\n".join(texts), title=optional_text(block, "title", place), source=source)
    return _marked({"type": "text", "text": said}, block, place)


def _framed(tag: str, text: str, **about: str | None) -> str:
    """`text` with what is known about it, as Anthropic's own prompts have it; bare where nothing is known."""
    told = [f"<{name}>{value}</{name}>\n" for name, value in about.items() if value]
    return f"<{tag}>\n{''.join(told)}{text}\n</{tag}>" if told else text


def _read_assistant(content: Any, where: str, messages: list[Document]) -> None:
    if type(content) is str:
        messages.append({"role": "assistant", "content": content})
        return
    message: Document = {"role": "assistant", "content": None}
    parts: list[Document] = []
    thoughts: list[str] = []
    details: list[Document] = []
    calls: list[Document] = []
    loose: list[Document] = []
    for block, place, kind in _blocks(content, where):
        if kind == "text":
            parts.append(_text(block, place))
        elif kind == "tool_use":
            calls.append(_call(block, place))
            _own_thinking(loose, calls[-1]["id"])
            _marked(message, block, place)
        elif kind in _THINKING:
            text, found = _read_thoughts(block, place, kind, len(details))
            thoughts.append(text)
            details += found
            if parts or calls:
                loose += found
        elif kind not in _SERVER_CALLS and not kind.endswith("_tool_result"):
            raise _unknown(place, kind)
    if parts or not calls:
        message["content"] = _plain([part for part in parts if part["text"]])
    if any(thoughts):
        message["reasoning_content"] = "\n\n".join(filter(None, thoughts))
    if details:
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = calls
    if message["content"] or len(message) > 2:
        messages.append(message)


def _read_thoughts(block: Document, place: str, kind: str, index: int) -> tuple[str, list[Document]]:
    if kind == "thinking":
        return read_thinking(block, place, index)
    return "", read_redacted(block, place, index)


def _own_thinking(loose: list[Document], call_id: str) -> None:
    """Thinking behind something else stands before a call: this is how Anthropic's is known to belong there."""
    for detail in loose:
        if detail.get("format") == CLAUDE_FORMAT:
            detail["id"] = call_id
    loose.clear()


def _call(block: Document, place: str) -> Document:
    given = block.get("input")
    arguments = orjson.dumps(as_object(given, f"{place}.input")).decode() if given is not None else "{}"
    function = {"name": required_text(block, "name", place), "arguments": arguments}
    return {"id": required_text(block, "id", place), "type": "function", "function": function}
