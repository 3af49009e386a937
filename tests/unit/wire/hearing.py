"""What a request in a provider's own format says, read by plain JSON paths and not by the code under test."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

Body = dict[str, Any]

# What the third generation of Gemini takes in place of a signature for a call that another model made:
# https://ai.google.dev/gemini-api/docs/thought-signatures (read 2026-11).
NO_SIGNATURE = b64encode(b"skip_thought_signature_validator").decode()


@dataclass
class Heard:
    """What a provider is told: texts of the instructions, the user and the model, in order; `calls` as id, name and
    arguments; `results` as id and text; `images` as URL or data URI; `thoughts` as text and signature.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, Body]] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    thoughts: list[tuple[str, str]] = field(default_factory=list)

    def answered(self) -> list[tuple[str, Body, str]]:
        """Each call with the result that belongs to it; every result must belong to one call."""
        by_id = dict(self.results)
        assert len(by_id) == len(self.results) == len({call[0] for call in self.calls}) == len(self.calls)
        return [(name, arguments, by_id[ident]) for ident, name, arguments in self.calls]


def hear_openai(body: Body) -> Heard:
    """OpenAI's messages, and of those who took them over; `thinking` is a part of Cohere's content."""
    heard = Heard()
    for message in body["messages"]:
        content = message.get("content")
        parts: list[Body] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts = [part["text"] for part in parts if part["type"] == "text"]
        heard.thoughts += [(part["thinking"], "") for part in parts if part["type"] == "thinking"]
        heard.images += [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        if message["role"] == "tool":
            heard.results.append((message["tool_call_id"], "".join(texts)))
            continue
        heard.texts += texts
        if "tool_plan" in message:
            heard.thoughts.append((message["tool_plan"], ""))
        for call in message.get("tool_calls", ()):
            function = call["function"]
            heard.calls.append((call["id"], function["name"], orjson.loads(function["arguments"])))
    return heard


def hear_anthropic(body: Body) -> Heard:
    heard = Heard([body["system"]] if isinstance(body["system"], str) else [part["text"] for part in body["system"]])
    for turn in body["messages"]:
        content = turn["content"]
        for block in _anthropic_blocks([{"type": "text", "text": content}] if isinstance(content, str) else content):
            match block["type"]:
                case "text":
                    heard.texts.append(block["text"])
                case "thinking":
                    heard.thoughts.append((block["thinking"], block["signature"]))
                case "tool_use":
                    heard.calls.append((block["id"], block["name"], block["input"]))
                case "tool_result":
                    inner = block["content"]
                    parts = inner if isinstance(inner, list) else [{"text": inner}]
                    heard.results.append((block["tool_use_id"], "".join(part.get("text", "") for part in parts)))
                case "image":
                    source = block["source"]
                    data = f"data:{source.get('media_type')};base64,{source.get('data')}"
                    heard.images.append(source["url"] if source["type"] == "url" else data)
    return heard


def _anthropic_blocks(blocks: list[Body]) -> Iterator[Body]:
    for block in blocks:
        yield block
        if block["type"] == "tool_result" and isinstance(block["content"], list):
            yield from (inner for inner in block["content"] if inner["type"] == "image")


def hear_bedrock(body: Body) -> Heard:
    heard = Heard([block["text"] for block in body["system"]])
    for block in [block for turn in body["messages"] for block in turn["content"]]:
        if "text" in block:
            heard.texts.append(block["text"])
        elif "reasoningContent" in block:
            told = block["reasoningContent"]["reasoningText"]
            heard.thoughts.append((told["text"], told["signature"]))
        elif "toolUse" in block:
            heard.calls.append(tuple(block["toolUse"][name] for name in ("toolUseId", "name", "input")))
        inner = block.get("toolResult", {}).get("content", [])
        if inner:
            told_id = block["toolResult"]["toolUseId"]
            heard.results.append((told_id, "".join(part.get("text", "") for part in inner)))
        for image in [part["image"] for part in [block, *inner] if "image" in part]:
            heard.images.append(f"data:image/{image['format']};base64,{image['source']['bytes']}")
    return heard


def hear_gemini(body: Body) -> Heard:
    """A result is its call's by name and id, or where there are no ids by its place in the turn behind the calls."""
    heard = Heard([part["text"] for part in body["systemInstruction"]["parts"]])
    for number, content in enumerate(body["contents"]):
        calls = [part for part in content["parts"] if "functionCall" in part]
        results = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        heard.texts += [part["text"] for part in content["parts"] if part.get("text")]
        for place, part in enumerate(calls):
            call = part["functionCall"]
            heard.calls.append((f"{call.get('id', number)}-{place}-{call['name']}", call["name"], call["args"]))
            if part.get("thoughtSignature", NO_SIGNATURE) != NO_SIGNATURE:
                heard.thoughts.append(("", part["thoughtSignature"]))
        for place, result in enumerate(results):
            response = result["response"]
            text = response["output"] if set(response) == {"output"} else orjson.dumps(response).decode()
            heard.results.append((f"{result.get('id', number - 1)}-{place}-{result['name']}", text))
        holders = [content["parts"], *[result.get("parts", []) for result in results]]
        for held in [part["inlineData"] for parts in holders for part in parts if "inlineData" in part]:
            heard.images.append(f"data:{held['mimeType']};base64,{held['data']}")
    return heard


def hear_ollama(body: Body) -> Heard:
    """Images are bare base64; a result is its call's by id, and by its tool's name for older versions."""
    heard = Heard()
    for message in body["messages"]:
        heard.images += message.get("images", [])
        if message["role"] == "tool":
            heard.results.append((f"{message['tool_call_id']}-{message['tool_name']}", message["content"]))
            continue
        heard.texts += [message["content"]] if message["content"] else []
        heard.thoughts += [(message["thinking"], "")] if "thinking" in message else []
        for call in message.get("tool_calls", ()):
            function = call["function"]
            heard.calls.append((f"{call['id']}-{function['name']}", function["name"], function["arguments"]))
    return heard
