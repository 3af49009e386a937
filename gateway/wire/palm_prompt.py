"""A conversation as PaLM's prompts: MessagePrompt and TextPrompt of https://ai.google.dev/api/palm (read 2026-11)."""

from __future__ import annotations

from gateway.wire.checks import invalid
from gateway.wire.dialect import Document
from gateway.wire.gemini_parts import lacks

_USER, _MODEL = "0", "1"
_SPEAKERS = {_USER: "User", _MODEL: "Assistant"}
_AUTHORS = {"user": _USER, "assistant": _MODEL}


def message_prompt(document: Document) -> Document:
    """The prompt of generateMessage: instructions as `context`, and turns by alternating authors."""
    context, turns = _read(document)
    if not turns and context:
        context, turns = "", [(_USER, context)]
    prompt: Document = {"messages": [{"author": author, "content": text} for author, text in turns]}
    if context:
        prompt["context"] = context
    return prompt


def text_prompt(document: Document) -> Document:
    """The prompt of generateText: a single question as it is, a conversation as a script to go on with."""
    context, turns = _read(document)
    before = [context] if context else []
    if len(turns) > 1 or any(author == _MODEL for author, _ in turns):
        script = [f"{_SPEAKERS[author]}: {text}" for author, text in turns]
        return {"text": "\n\n".join([*before, *script, f"{_SPEAKERS[_MODEL]}:"])}
    return {"text": "\n\n".join([*before, *(text for _, text in turns)])}


def _read(document: Document) -> tuple[str, list[tuple[str, str]]]:
    """Instructions, and turns whose authors alternate. Raises invalid_field or unsupported_parameter."""
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a non-empty array")
    context: list[str] = []
    turns: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise invalid(where, "must be an object")
        role = message.get("role")
        if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            raise lacks(where, "a tool's call or result, which this provider has not")
        text = _text(message.get("content"), f"{where}.content")
        if role in ("system", "developer"):
            context.append(text)
            continue
        if role not in ("user", "assistant"):
            raise invalid(f"{where}.role", "must be system, developer, user or assistant")
        author = _AUTHORS[role]
        if turns and turns[-1][0] == author:
            turns[-1] = (author, f"{turns[-1][1]}\n\n{text}")
        else:
            turns.append((author, text))
    return "\n\n".join(context), turns


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise invalid(where, "must be a string or an array of parts")
    pieces: list[str] = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise lacks(f"{where}[{index}]", "something other than text, which this provider does not take")
        pieces.append(text)
    return "".join(pieces)
