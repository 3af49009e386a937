"""Canonical answers as Anthropic's messages: content blocks, the reason for the end, usage.

https://platform.claude.com/docs/en/api/messages and .../build-with-claude/handling-stop-reasons (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from gateway.wire.anthropic_inbound_thinking import plain_id, thinking_blocks
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json
from gateway.wire.usage import Usage

# Anthropic's word for each canonical finish reason, and the canonical one for each word of Anthropic's.
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_OWN_WORDS = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
# What Anthropic's docs give for arguments that are no JSON object:
# https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming (read 2026-11).
_INVALID_INPUT = "INVALID_JSON"


def render_message(answer: Document, usage: Usage | None, document: Document) -> bytes:
    """A canonical answer as a message; `document` is the client's own request. Only its first choice is told."""
    choice = _first_choice(answer)
    message = choice.get("message")
    message = message if type(message) is dict else {}
    content, before = thinking_blocks(message)
    content += _text_blocks(message, document)
    calls = _tool_blocks(message, str(answer.get("id")), before)
    reason, sequence = stop_of(
        choice.get("finish_reason"),
        choice.get("native_finish_reason"),
        document,
        calls=bool(calls),
        refused=bool(message.get("refusal")),
    )
    answer_id, model = answer.get("id"), answer.get("model")
    return to_json(
        {
            "id": answer_id if type(answer_id) is str and answer_id else "msg_unnamed",
            "type": "message",
            "role": "assistant",
            "model": model if type(model) is str and model else document["model"],
            "content": content + calls,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage_of(usage),
        }
    )


def _first_choice(answer: Document) -> Document:
    choices = answer.get("choices")
    first = choices[0] if type(choices) is list and choices else None
    return first if type(first) is dict else {}


def content_text(content: object) -> str:
    """The text of a message's content, a string or parts."""
    if type(content) is str:
        return content
    parts = content if type(content) is list else []
    texts = [part["text"] for part in parts if type(part) is dict and type(part.get("text")) is str]
    return "".join(texts)


def _text_blocks(message: Document, document: Document) -> list[Document]:
    blocks: list[Document] = []
    text = content_text(message.get("content"))
    if text:
        block: Document = {"type": "text", "text": text}
        citations = citations_of(message.get("annotations"), document)
        if citations:
            block["citations"] = citations
        blocks.append(block)
    refusal = message.get("refusal")
    if type(refusal) is str and refusal:
        blocks.append({"type": "text", "text": refusal})
    return blocks


def _tool_blocks(message: Document, answer_id: str, before: dict[str, list[Document]]) -> list[Document]:
    """The calls, each behind what was thought for it; `before` has that by id."""
    calls = message.get("tool_calls")
    given = [call for call in calls if type(call) is dict] if type(calls) is list else []
    if not given and type(message.get("function_call")) is dict:
        given = [{"function": message["function_call"]}]
    blocks: list[Document] = []
    for index, call in enumerate(given):
        given_function = call.get("function")
        function: Document = given_function if type(given_function) is dict else {}
        name = function.get("name")
        if type(name) is str and name:
            call_id = call.get("id")
            if type(call_id) is str:
                blocks += before.pop(call_id, ())
            made = {"type": "tool_use", "id": tool_id(call_id, answer_id, index), "name": name}
            blocks.append({**made, "input": _input_of(function.get("arguments"))})
    return blocks


def tool_id(given: object, answer_id: str, index: int) -> str:
    """A call's id as Anthropic takes it back: the one given, foreign signs replaced, else one by its place."""
    if type(given) is not str or not given:
        given = f"toolu_{answer_id[-24:]}_{index}"
    return plain_id(given)


def _input_of(arguments: object) -> Document:
    if type(arguments) is dict:
        return arguments
    text = arguments if type(arguments) is str else ""
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    return value if type(value) is dict else {_INVALID_INPUT: text}


def stop_of(
    finish: object, native: object, document: Document, *, calls: bool, refused: bool
) -> tuple[str, str | None]:
    """The stop_reason, and the stop_sequence where it is known which one it was.

    `native` is the provider's own word, kept where it is Anthropic's and means the same; `calls` says that tools are
    called, `refused` that the answer is a refusal.
    """
    reason = finish if type(finish) is str and finish in STOP_REASONS else "stop"
    word = native.lower() if type(native) is str else ""
    stop = word if _OWN_WORDS.get(word) == reason else STOP_REASONS[reason]
    if refused and reason == "stop":
        return "refusal", None
    if calls and stop in ("end_turn", "stop_sequence"):
        return "tool_use", None
    if stop == "tool_use" and not calls:
        return "end_turn", None
    if stop == "stop_sequence":
        sequences = document.get("stop_sequences")
        only = sequences[0] if type(sequences) is list and len(sequences) == 1 else None
        return stop, only if type(only) is str else None
    return stop, None


def usage_of(usage: Usage | None) -> Document:
    """Usage in Anthropic's terms, whose input_tokens are those that no cache had to do with; zeros where unknown."""
    usage = usage or Usage()
    counts: Document = {
        "input_tokens": max(usage.prompt - usage.cached - usage.cache_write, 0),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }
    if usage.cache_write_1h:
        counts["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write - usage.cache_write_1h,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


def citations_of(annotations: object, document: Document) -> list[Document]:
    """Annotations as citations, as far as Anthropic's format can tell them.

    A web source always; a document only where the words cited stand in a plain-text document of the request.
    """
    found = []
    for annotation in annotations if type(annotations) is list else []:
        if type(annotation) is not dict:
            continue
        web, file = annotation.get("url_citation"), annotation.get("file_citation")
        citation = None
        if type(web) is dict:
            citation = _web_citation(web)
        elif type(file) is dict:
            citation = _file_citation(file, document)
        if citation is not None:
            found.append(citation)
    return found


def _web_citation(source: Document) -> Document | None:
    url, title = source.get("url"), source.get("title")
    if type(url) is not str or not url:
        return None
    cited = next((source[name] for name in ("text", "content") if type(source.get(name)) is str), "")
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title if type(title) is str else None,
        "cited_text": cited,
        "encrypted_index": "",
    }


def _file_citation(source: Document, document: Document) -> Document | None:
    cited, filename = source.get("text"), source.get("filename")
    if type(cited) is not str or not cited:
        return None
    for index, title, text in _text_documents(document):
        if type(filename) is str and filename and title and filename != title:
            continue
        start = text.find(cited)
        if start >= 0:
            return {
                "type": "char_location",
                "cited_text": cited,
                "document_index": index,
                "document_title": title,
                "start_char_index": start,
                "end_char_index": start + len(cited),
            }
    return None


def _text_documents(document: Document) -> Iterator[tuple[int, str | None, str]]:
    """The plain-text documents of a request's messages: place among all their documents, title, text."""
    place = 0
    for message in document["messages"]:
        content = message.get("content")
        for block in content if type(content) is list else []:
            if type(block) is not dict or block.get("type") != "document":
                continue
            source, title = block.get("source"), block.get("title")
            if type(source) is dict and source.get("type") == "text" and type(source.get("data")) is str:
                yield place, title if type(title) is str else None, source["data"]
            place += 1
