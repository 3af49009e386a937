"""Answers and streams in OpenAI's format as canonical ones, whoever wrote them and in whatever manner of his own.

The differences that the recordings and the docs of those who speak the format show: reasoning under two names or as
parts of the content (https://docs.mistral.ai/capabilities/reasoning), calls without ids or with arguments as an
object (text-generation-inference before 2.0), words of their own for the end, citations beside the choices
(https://docs.perplexity.ai/api-reference/chat-completions-post); all read 2026-11.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.chunks import FINISH_REASONS, completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.usage import Usage

# What is not here and no word of OpenAI's is "stop"; the provider's own word is then kept beside it.
FINISH_WORDS = {
    "content_filtered": "content_filter",
    "function_call": "tool_calls",
    "insufficient_system_resource": "length",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
    "tool_use": "tool_calls",
}
_MESSAGE_FIELDS = ("refusal", "annotations", "audio", "reasoning_details")
# orjson reads 1,024 levels and writes 254: an answer that could not be written again is none.
_MAX_LEVELS = 254


def bad_answer(why: str) -> GatewayError:
    """An upstream_bad_answer error: `why` completes "The provider"."""
    return GatewayError("upstream_bad_answer", f"The provider {why}.")


def read_object(payload: bytes) -> Document | None:
    """The JSON object in `payload`; None for anything else, and for one that nests too deeply to be written again."""
    try:
        document = orjson.loads(payload)
        if payload.count(b"[") + payload.count(b"{") > _MAX_LEVELS:
            orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return document if type(document) is dict else None


def call_id(ask: Ask, index: int, choice: int = 0) -> str:
    """An id for a tool call whose provider gave none: the same for the same place in the same answer."""
    tail = ask.answer_id.rpartition("-")[2]
    return f"call_{tail}_{choice}_{index}" if choice else f"call_{tail}_{index}"


def finish_of(word: object, *, called: bool) -> tuple[str, str | None]:
    """The canonical finish reason for a provider's `word`, and the word itself where it is another.

    An answer that made calls ends with `tool_calls`, also where they were demanded: OpenAI itself then says `stop`
    (https://platform.openai.com/docs/api-reference/chat/object, read 2026-11), which other clients do not expect.
    """
    own = word if type(word) is str and word else "stop"
    reason = own if own in FINISH_REASONS else FINISH_WORDS.get(own, "stop")
    if called and reason == "stop":
        reason = "tool_calls"
    return reason, None if reason == own else own


def arguments_text(arguments: object) -> str:
    """A call's arguments as JSON text, whether the provider wrote them as text or as an object."""
    if type(arguments) is str:
        return arguments
    return "" if arguments is None else orjson.dumps(arguments).decode()


def content_of(content: object) -> tuple[str | None, str]:
    """The text of an answer's content, and what was thought where that is a part of it."""
    if type(content) is str or content is None:
        return content, ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if type(content) is list else ():
        if type(part) is not dict:
            continue
        thought = part.get("thinking")
        if type(part.get("text")) is str:
            texts.append(part["text"])
        elif type(thought) is str:
            thoughts.append(thought)
        elif type(thought) is list:
            thoughts += [piece["text"] for piece in thought if type(piece) is dict and type(piece.get("text")) is str]
    return "".join(texts), "".join(thoughts)


def reasoning_of(message: Document) -> str:
    """What the model thought, where the message has it in a field of its own."""
    for name in ("reasoning_content", "reasoning"):
        thought = message.get(name)
        if type(thought) is str and thought:
            return thought
    return ""


def citations_of(document: Document) -> list[Document]:
    """Web sources that stand beside the choices, as annotations; where in the text they belong is not known."""
    found = document.get("search_results")
    sources = [source for source in found if type(source) is dict] if type(found) is list else []
    if not sources:
        urls = document.get("citations")
        sources = [{"url": url} for url in urls if type(url) is str] if type(urls) is list else []
    return [
        {
            "type": "url_citation",
            "url_citation": {name: source[name] for name in ("url", "title") if type(source.get(name)) is str},
        }
        for source in sources
        if type(source.get("url")) is str
    ]


def read_completion(ask: Ask, document: Document, usage: Usage | None) -> Document:
    """The canonical answer. Raises upstream_bad_answer where there are no choices."""
    given = document.get("choices")
    choices = [choice for choice in given if type(choice) is dict] if type(given) is list else []
    if not choices:
        raise bad_answer("answered without choices")
    own_id = document.get("id")
    answer = completion(
        ask,
        [_choice(ask, choice, position) for position, choice in enumerate(choices)],
        usage,
        answer_id=own_id if type(own_id) is str and own_id else None,
    )
    if type(document.get("created")) is int:
        answer["created"] = document["created"]
    for name in ("system_fingerprint", "service_tier"):
        if type(document.get(name)) is str:
            answer[name] = document[name]
    citations = citations_of(document)
    if citations:
        answer["choices"][0]["message"].setdefault("annotations", citations)
    return answer


def _choice(ask: Ask, choice: Document, position: int) -> Document:
    index = choice.get("index")
    index = index if type(index) is int and index >= 0 else position
    message = choice.get("message")
    written = _message(ask, message if type(message) is dict else {}, index)
    finish, native = finish_of(choice.get("finish_reason"), called="tool_calls" in written)
    read: Document = {"index": index, "message": written, "finish_reason": finish}
    own = choice.get("native_finish_reason")
    if type(own) is str or native is not None:
        read["native_finish_reason"] = own if type(own) is str else native
    if type(choice.get("logprobs")) is dict:
        read["logprobs"] = choice["logprobs"]
    return read


def _message(ask: Ask, message: Document, choice: int) -> Document:
    text, thought = content_of(message.get("content"))
    read: Document = {"role": "assistant", "content": text}
    thought = reasoning_of(message) or thought
    if thought:
        read["reasoning_content"] = thought
    for name in _MESSAGE_FIELDS:
        value = message.get(name)
        # Some write out every field that there is, with nothing in it.
        if value and (type(value) is not dict or any(value.values())):
            read[name] = value
    calls = message.get("tool_calls")
    if type(calls) is dict:  # text-generation-inference before 2.0
        calls = [calls]
    old = message.get("function_call")
    if not calls and type(old) is dict and old.get("name"):
        calls = [{"function": old}]
    if type(calls) is list:
        written = [_call(ask, call, index, choice) for index, call in enumerate(calls) if type(call) is dict]
        if written:
            read["tool_calls"] = written
    return read


def _call(ask: Ask, call: Document, index: int, choice: int) -> Document:
    own = call.get("id")
    head: dict[str, Any] = {"id": own if type(own) is str and own else call_id(ask, index, choice)}
    if call.get("type") == "custom" and type(call.get("custom")) is dict:
        return {**head, "type": "custom", "custom": call["custom"]}
    function = call.get("function")
    function = function if type(function) is dict else {}
    name = function.get("name")
    return {
        **head,
        "type": "function",
        "function": {
            "name": name if type(name) is str else "",
            "arguments": arguments_text(function.get("arguments")) or "{}",
        },
    }
