"""A conversation that changes providers: what is asked, what each provider answers in its own format, who they are."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.providers.mistral import PROVIDER
from gateway.wire.dialect import Ask, Dialect
from gateway.wire.dialects import find_dialect
from gateway.wire.openai import Variations
from gateway.wire.openai_dialect import OpenAIDialect
from gateway.wire.remote_parts import inlined, remote_urls
from tests.unit.wire.hearing import Heard, hear_anthropic, hear_bedrock, hear_gemini, hear_ollama, hear_openai

Body = dict[str, Any]

# The provider of OpenAI's format with a rule of its own for the ids of calls.
MISTRAL = Variations(
    PROVIDER.unsupported, PROVIDER.renamed, PROVIDER.stream_usage, call_id_characters=PROVIDER.call_id_characters
)

SYSTEM, QUESTION, GO_ON = "You plan trips.", "Where is this, and how do I get there?", "And tomorrow?"
WEATHER, TRAINS = "get_weather", "look_up_public_transport_connections"
CALLS: list[tuple[str, Body]] = [
    (WEATHER, {"city": "Köln"}),
    (TRAINS, {"origin": "Köln", "destination": "Aachen", "changes": 1}),
]
# An object and a plain text: what tools answer.
RESULTS = {WEATHER: '{"degrees":21,"sky":"clear"}', TRAINS: "RE1 at 9:15, 52 minutes"}
URL = "https://pictures.example/cathedral.png"
PIXELS = b64encode(b"\x89PNG\r\n\x1a\n inline").decode()
FETCHED = f"data:image/jpeg;base64,{b64encode(b'fetched').decode()}"
INLINE = f"data:image/png;base64,{PIXELS}"
TOOLS: list[Body] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name, _ in CALLS
]


def thought(name: str, turn: int) -> str:
    return f"The weather first, then trains. ({name} {turn})"


def said(name: str, turn: int) -> str:
    return f"I look both up. ({name} {turn})"


def signature(name: str, turn: int) -> str:
    return b64encode(f"{name}-{turn}-signed-by-its-maker".encode()).decode()


# --- what each answers ----------------------------------------------------------------------------


def _anthropic(name: str, turn: int) -> Body:
    calls = [
        {"type": "tool_use", "id": f"toolu_01A09q90qw90lq9178{turn}{place}", "name": called, "input": arguments}
        for place, (called, arguments) in enumerate(CALLS)
    ]
    thinking = {"type": "thinking", "thinking": thought(name, turn), "signature": signature(name, turn)}
    content = [thinking, {"type": "text", "text": said(name, turn)}, *calls]
    head = {"id": f"msg_{turn}", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6"}
    return {**head, "content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 9, "output_tokens": 5}}


def _bedrock(name: str, turn: int) -> Body:
    told = {"reasoningText": {"text": thought(name, turn), "signature": signature(name, turn)}}
    content: list[Body] = [{"reasoningContent": told}, {"text": said(name, turn)}]
    for place, (called, arguments) in enumerate(CALLS):
        content.append(
            {"toolUse": {"toolUseId": f"tooluse_kZJMlvQmRJ6e{turn}{place}", "name": called, "input": arguments}}
        )
    usage = {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use", "usage": usage}


def _gemini(name: str, turn: int) -> Body:
    """The signature stands on the first of parallel calls; AI Studio gives ids, Vertex AI none."""
    parts: list[Body] = [{"text": thought(name, turn), "thought": True}, {"text": said(name, turn)}]
    for place, (called, arguments) in enumerate(CALLS):
        call = {"name": called, "args": arguments, **({"id": f"fc{turn}{place}"} if name == "gemini" else {})}
        parts.append({"functionCall": call, **({} if place else {"thoughtSignature": signature(name, turn)})})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5}}


def _cohere(name: str, turn: int) -> Body:
    content = [{"type": "thinking", "thinking": thought(name, turn)}, {"type": "text", "text": said(name, turn)}]
    calls = _functions(f"_{turn}zq8n1tx2vb", named=True)
    message = {"role": "assistant", "content": content, "tool_calls": calls, "tool_plan": f"First this. ({turn})"}
    return {"id": f"co{turn}", "message": message, "finish_reason": "TOOL_CALL", "usage": {}}


def _ollama(name: str, turn: int) -> Body:
    calls = [{"function": {"name": called, "arguments": arguments}} for called, arguments in CALLS]
    message = {"role": "assistant", "content": said(name, turn), "thinking": thought(name, turn), "tool_calls": calls}
    return {"model": "qwen3-vl", "created_at": "2026-11-02T10:00:00Z", "message": message, "done": True}


def _huggingface(name: str, turn: int) -> Body:
    """As the router's providers write it: the thinking beside the content, ids with dots and colons."""
    calls = [
        {"id": f"functions.{called}:{turn}{place}", "type": "function", "function": _function(called, arguments)}
        for place, (called, arguments) in enumerate(CALLS)
    ]
    return _completion({"content": said(name, turn), "reasoning": thought(name, turn), "tool_calls": calls}, turn)


def _ai21(name: str, turn: int) -> Body:
    calls = _functions("0123456789abcdef0123456789abcde", start=f"chatcmpl-tool-{turn}")
    return _completion({"content": said(name, turn), "tool_calls": calls}, turn)


def _openai(name: str, turn: int) -> Body:
    calls = _functions("", start=f"call_{turn}Zp2xlTtLbVEZ")
    return _completion({"content": said(name, turn), "refusal": None, "annotations": [], "tool_calls": calls}, turn)


def _mistral(name: str, turn: int) -> Body:
    return _completion({"content": said(name, turn), "tool_calls": _functions("D681Pev", start=f"{turn}")}, turn)


def _function(name: str, arguments: Body) -> Body:
    return {"name": name, "arguments": orjson.dumps(arguments).decode()}


def _functions(tail: str, start: str = "", *, named: bool = False) -> list[Body]:
    return [
        {
            "id": f"{name if named else f'{start}{place}'}{tail}",
            "type": "function",
            "function": _function(name, arguments),
        }
        for place, (name, arguments) in enumerate(CALLS)
    ]


def _completion(message: Body, turn: int) -> Body:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "tool_calls", "logprobs": None}
    return {"id": f"chatcmpl-{turn}", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


# --- who they are ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One provider. `thinks_as` is the form of what it thought, `takes` what it takes back; `own` are keys of its own
    format that are foreign elsewhere.
    """

    name: str
    dialect: Dialect
    model: str
    upstream: Callable[[str, int], Body]
    hear: Callable[[Body], Heard]
    thinks_as: str = ""
    takes: str = ""
    own: frozenset[str] = frozenset()

    def ask(self, document: Body, turn: int = 9) -> Ask:
        """A request of this side's."""
        options = {"project": "p", "region": "eu", "api_version": "2024-10-21"}
        return Ask("chat", document, self.model, "shown", f"chatcmpl-0123456789abcdef{turn}", 1, options=options)

    def answer(self, document: Body, turn: int) -> tuple[Body, Any]:
        """The canonical answer of its answer number `turn`, and the usage."""
        data = orjson.dumps(self.upstream(self.name, turn))
        return self.dialect.decode(self.ask(document, turn), data)

    def told(self, document: Body) -> Body:
        """The body that it gets, the images fetched where it takes none by URL."""
        if not self.dialect.image_urls:
            document = inlined(document, dict.fromkeys(remote_urls(document, images=True, files=True), FETCHED))
        before = orjson.dumps(document)
        body: Body = orjson.loads(self.dialect.encode(self.ask(document)).body)
        assert orjson.dumps(document) == before, "the request was changed"
        return body

    def images(self) -> list[str]:
        """The question's images as this side must see them."""
        found = [URL if self.dialect.image_urls else FETCHED, INLINE]
        return [image.partition(",")[2] for image in found] if self.name == "ollama" else found

    def kept(self, turn: int, other: Side) -> list[tuple[str, str]]:
        """What of its own answer's thoughts `other` must be told."""
        if not self.thinks_as or self.thinks_as != other.takes:
            return []
        signed = signature(self.name, turn) if self.thinks_as in ("claude", "google") else ""
        first = ("" if self.thinks_as == "google" else thought(self.name, turn), signed)
        return [first, *([(f"First this. ({turn})", "")] if self.name == "cohere" else [])]


def _sides() -> Iterator[Side]:
    azure = OpenAIDialect(variations=Variations(), who="the provider 'azure'")
    openai = OpenAIDialect(variations=Variations(), who="the provider 'openai'")
    mistral = OpenAIDialect(variations=MISTRAL, who="the provider 'mistral'")
    marks = frozenset({"cache_control", "signature"})
    bedrock = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    find = find_dialect
    yield Side(
        "anthropic", find("anthropic"), "claude-sonnet-4-6", _anthropic, hear_anthropic, "claude", "claude", marks
    )
    yield Side("gemini", find("gemini"), "gemini-3-pro-preview", _gemini, hear_gemini, "google", "google")
    yield Side("vertex", find("vertex"), "gemini-3-flash", _gemini, hear_gemini, "google", "google")
    yield Side("cohere", find("cohere"), "command-a-reasoning", _cohere, hear_openai, "cohere", "cohere")
    yield Side("ai21", find("ai21"), "jamba-large", _ai21, hear_openai)
    yield Side("ollama", find("ollama"), "qwen3-vl", _ollama, hear_ollama, "plain", "plain", frozenset({"images"}))
    yield Side("huggingface", find("huggingface"), "moonshotai/Kimi-K2", _huggingface, hear_openai, "plain")
    yield Side("bedrock", find("bedrock"), bedrock, _bedrock, hear_bedrock, "claude", "claude", marks)
    yield Side("openai", openai, "gpt-4o", _openai, hear_openai)
    yield Side("mistral", mistral, "mistral-large-latest", _mistral, hear_openai)
    yield Side("azure", azure, "our-gpt", _openai, hear_openai)


SIDES = {side.name: side for side in _sides()}
