"""How many tokens a prompt may have, for upstreams that do not count them: a cheap guess, never a bill.

Four bytes of UTF-8 are about a token of English or code in today's vocabularies, and three bytes, which is one
Chinese or Japanese character, about three quarters of one. Around that come the few tokens that a chat template
puts about each message and tool (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken_cookbook),
and flat figures for what is no text: an image of a megapixel is about 1,300 tokens to Claude and 765 to GPT-4o
(https://platform.claude.com/docs/en/build-with-claude/vision, https://platform.openai.com/docs/guides/images), a
page of PDF 1,500 to 3,000 (https://platform.claude.com/docs/en/build-with-claude/pdf-support); all read 2026-11.
"""

from __future__ import annotations

from gateway.wire.dialect import Document

BYTES_PER_TOKEN = 4
PER_PROMPT = 3
PER_MESSAGE = 4
PER_CALL = 8
PER_TOOL = 12
PER_IMAGE = 1000
PER_PAGE = 2000
# A page of a PDF, fonts and pictures shared out, and a token of sound at 10 a second and 128 kbit/s.
_BYTES_PER_PAGE = 50_000
_BYTES_PER_SOUND_TOKEN = 1600
_MAX_LEVELS = 64


def estimate_prompt_tokens(document: Document) -> int:
    """Tokens of a canonical request's messages, tools and schema, about; never negative, whatever is in it."""
    text = 0
    tokens = PER_PROMPT
    messages = document.get("messages")
    for message in messages if type(messages) is list else ():
        if type(message) is not dict:
            continue
        tokens += PER_MESSAGE
        content = message.get("content")
        if type(content) is list:
            for part in content:
                size, flat = _part(part)
                text += size
                tokens += flat
        else:
            text += _bytes(content, 0)
        text += _bytes(message.get("reasoning_content"), 0)
        calls = message.get("tool_calls")
        for call in calls if type(calls) is list else ():
            tokens += PER_CALL
            text += _bytes(call.get("function"), 0) if type(call) is dict else 0
    tools = document.get("tools")
    for tool in tools if type(tools) is list else ():
        tokens += PER_TOOL
        text += _bytes(tool, 0)
    text += _bytes(document.get("response_format"), 0)
    return tokens + -(-text // BYTES_PER_TOKEN)


def _part(part: object) -> tuple[int, int]:
    """Bytes of text in a content part, and the tokens of what is no text."""
    if type(part) is not dict:
        return 0, 0
    kind = part.get("type")
    if kind == "image_url":
        return 0, PER_IMAGE
    if kind == "input_audio":
        return 0, _decoded_size(part.get("input_audio"), "data") // _BYTES_PER_SOUND_TOKEN
    if kind == "file":
        return _file(part.get("file"))
    return _bytes(part.get("text"), 0), 0


def _file(file: object) -> tuple[int, int]:
    data = file.get("file_data") if type(file) is dict else None
    if type(data) is str and data.startswith("data:text/"):
        return _decoded_size(file, "file_data"), 0
    return 0, PER_PAGE * max(-(-_decoded_size(file, "file_data") // _BYTES_PER_PAGE), 1)


def _decoded_size(holder: object, name: str) -> int:
    data = holder.get(name) if type(holder) is dict else None
    return len(data) * 3 // 4 if type(data) is str else 0


def _bytes(value: object, level: int) -> int:
    """The size of all text in `value`, keys included, and a byte for each sign of JSON around it."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if level >= _MAX_LEVELS:
        return 0
    if type(value) is dict:
        return sum([len(name) + 4 + _bytes(inner, level + 1) for name, inner in value.items() if type(name) is str])
    if type(value) is list:
        return sum([1 + _bytes(inner, level + 1) for inner in value])
    return 0 if value is None else 4


def characters(value: object) -> int:
    """The length of all strings in `value`, however nested; keys do not count."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(characters, value.values()))
    return sum(map(characters, value)) if isinstance(value, list) else 0
