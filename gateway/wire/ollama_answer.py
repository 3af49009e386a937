"""Ollama's answers as canonical ones (https://docs.ollama.com/api/chat, read 2026-11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.errors import GatewayError
from gateway.wire.chunks import completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.ollama_forcing import Forced, find_forced, read_forced
from gateway.wire.openai_dialect_answer import arguments_text, bad_answer, call_id, read_object
from gateway.wire.provider_errors import Rule, provider_error
from gateway.wire.usage import Usage

# `load` and `unload` answer requests without messages. What is not here is "stop", with Ollama's own word beside it.
_DONE_REASONS = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop", "tool_calls": "tool_calls"}


def read_chat(ask: Ask, body: bytes, rules: Sequence[Rule]) -> tuple[Document, Usage | None]:
    """The canonical answer and what it used. Raises upstream_bad_answer, or what an error in the body means."""
    document = read_object(body)
    if document is None:
        raise bad_answer("answered with something that is not a JSON object")
    if document.get("error"):
        raise error_of(document, rules)
    given = document.get("message")
    if type(given) is not dict:
        raise bad_answer("answered without a message")
    message: Document = {"role": "assistant", "content": text_of(given.get("content"))}
    if text_of(given.get("thinking")):
        message["reasoning_content"] = given["thinking"]
    calls = calls_of(ask, given, 0)
    forced = forced_by(ask)
    if forced is not None and not calls and message["content"]:
        calls = forced_calls(ask, forced, message["content"])
        message["content"] = None if calls else message["content"]
    if calls:
        message["tool_calls"] = [{name: call[name] for name in ("id", "type", "function")} for call in calls]
    usage = read_counts(document)
    choice = {"index": 0, "message": message, **finish_of(document, called=bool(calls))}
    logprobs = logprobs_of(document)
    if logprobs is not None:
        choice["logprobs"] = logprobs
    answer = completion(ask, [choice], usage)
    answer["created"] = created_of(document, ask)
    return answer, usage


def error_of(document: Document, rules: Sequence[Rule]) -> GatewayError:
    """What an `error` means that came in an answer begun with 200."""
    error = document.get("error")
    text = error.get("message") if type(error) is dict else error
    return provider_error(rules, "ollama", 0, names=(), text=text)


def forced_by(ask: Ask) -> Forced | None:
    """The functions of which one had to be called; None also where the demand was dropped."""
    if "tool_choice" in ask.policy:
        return None
    try:
        return find_forced(ask)
    except GatewayError:  # such a request was never sent
        return None


def forced_calls(ask: Ask, forced: Forced, text: str) -> list[Document]:
    """The call that an answer held to a schema is; none where it was cut off before its end."""
    call = read_forced(forced, text)
    if call is None:
        return []
    function = {"name": call[0], "arguments": call[1]}
    return [{"index": 0, "id": call_id(ask, 0), "type": "function", "function": function}]


def text_of(value: object) -> str:
    """`value` where it is text, else none."""
    return value if type(value) is str else ""


def calls_of(ask: Ask, message: Document, start: int) -> list[Document]:
    """The calls of a message as the pieces of a stream; the first has index `start`. Ids come since Ollama 0.12.10."""
    given = message.get("tool_calls")
    calls: list[Document] = []
    for call in given if type(given) is list else ():
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict:
            continue
        index = start + len(calls)
        calls.append(
            {
                "index": index,
                "id": text_of(call.get("id")) or call_id(ask, index),
                "type": "function",
                "function": {
                    "name": text_of(function.get("name")),
                    "arguments": arguments_text(function.get("arguments")) or "{}",
                },
            }
        )
    return calls


def finish_of(document: Document, *, called: bool) -> Document:
    """`finish_reason`, and `native_finish_reason` where Ollama's word is another."""
    word = text_of(document.get("done_reason")) or "stop"
    reason = _DONE_REASONS.get(word, "stop")
    if called and reason == "stop":
        reason = "tool_calls"
    return {"finish_reason": reason} if reason == word else {"finish_reason": reason, "native_finish_reason": word}


def read_counts(document: Document) -> Usage | None:
    """What was used; None where nothing is reported. A prompt that was wholly cached had no count in older versions."""
    if "prompt_eval_count" not in document and "eval_count" not in document:
        return None
    prompt = _count(document.get("prompt_eval_count"))
    cached = min(_count(document.get("prompt_eval_cached_count")), prompt)
    return Usage(prompt=prompt, completion=_count(document.get("eval_count")), cached=cached)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0


def created_of(document: Document, ask: Ask) -> int:
    """When the answer was made, in seconds since 1970."""
    written = document.get("created_at")
    if type(written) is not str:
        return ask.created
    try:
        moment = datetime.fromisoformat(written)
        return int(moment.timestamp()) if moment.tzinfo is not None else ask.created
    except (ValueError, OverflowError):
        return ask.created


def logprobs_of(document: Document) -> Document | None:
    """The log probabilities as OpenAI has them; None where there are none."""
    given = document.get("logprobs")
    if type(given) is not list or not given:
        return None
    content = []
    for token in given:
        if type(token) is dict:
            others = token.get("top_logprobs")
            tops = [_token(other) for other in others if type(other) is dict] if type(others) is list else []
            content.append({**_token(token), "top_logprobs": tops})
    return {"content": content, "refusal": None}


def _token(token: Document) -> Document:
    text = text_of(token.get("token"))
    given = token.get("bytes")
    return {
        "token": text,
        "logprob": token.get("logprob"),
        "bytes": given if type(given) is list else list(text.encode()),
    }
