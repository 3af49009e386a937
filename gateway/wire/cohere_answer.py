"""Cohere's whole chat answers, and what whole answers and streams have in common: usage, citations, logprobs, errors.

https://docs.cohere.com/v2/reference/chat and …/v2/reference/errors (read 2026-11).
"""

from __future__ import annotations

import re
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.chunks import completion
from gateway.wire.cohere_messages import REASONING_FORMAT
from gateway.wire.cohere_request import answer_tool
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.provider_errors import Rule, error_document, provider_error
from gateway.wire.usage import Usage

FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
# These end an answer that failed.
_BROKEN = frozenset({"ERROR", "TIMEOUT", "USER_CANCEL", "ERROR_LIMIT"})
_ANY = re.compile("")
_RULES = (
    # The same words open a complaint about max_tokens, which no larger context cures.
    Rule("context_length_exceeded", says=re.compile(r"(?i)too many tokens(?!: max)|context length|maximum context")),
    # 498: a token that is on the account's deny list, in the request or the answer.
    Rule("content_policy_violation", says=_ANY, statuses=frozenset({498})),
    # Trial keys have a number of calls a month; waiting a minute does not help.
    Rule("upstream_quota", says=re.compile(r"(?i)/ ?month|monthly|billing"), statuses=frozenset({402, 429})),
    # 499: cancelled on Cohere's side; to be tried again, they say.
    Rule("upstream_5xx", says=_ANY, statuses=frozenset({499})),
    Rule("context_length_exceeded", names=frozenset({"ERROR_LIMIT"})),
)


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means."""
    return _error(provider, status, error_document(body), retry_after_s)


def error_within(document: Document) -> GatewayError:
    """What an error means that came where an answer, or the rest of it, should have been."""
    return _error("cohere", 0, document, None)


def is_broken(reason: object) -> bool:
    """Does this finish reason end an answer that failed?"""
    return isinstance(reason, str) and reason in _BROKEN


def _error(provider: str, status: int, document: Document, retry_after_s: float | None) -> GatewayError:
    text = document.get("message") or document.get("error")
    if isinstance(text, dict):
        text = text.get("message")
    names = [document.get(name) for name in ("error_type", "type", "finish_reason")]
    return provider_error(_RULES, provider, status, names=names, text=text, retry_after_s=retry_after_s)


def read_object(body: bytes) -> Document:
    """The JSON object of a 2xx body. Raises upstream_bad_answer."""
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    return document


def decode_chat(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer. Raises upstream_bad_answer, or what an error in the body means."""
    document = read_object(body)
    message = document.get("message")
    reason = document.get("finish_reason")
    if not isinstance(message, dict) or is_broken(reason):
        raise error_within(document)
    shown: Document = {"role": "assistant", "content": None}
    text, thinking = _read_content(message.get("content"))
    calls, answer = _read_calls(ask, message.get("tool_calls"))
    plan = message.get("tool_plan")
    shown["content"] = (text or "") + answer if text is not None or answer or not calls else None
    details = reasoning_details(thinking, plan if isinstance(plan, str) else "")
    if details:
        shown["reasoning_content"] = "\n\n".join(item.get("text") or item["summary"] for item in details)
        shown["reasoning_details"] = details
    if calls:
        shown["tool_calls"] = calls
    if notes := read_citations(message.get("citations")):
        shown["annotations"] = notes
    choice: Document = {"index": 0, "message": shown, **finish(reason, calls=bool(calls), answered=bool(answer))}
    if (logprobs := read_logprobs(document.get("logprobs"))) is not None:
        choice["logprobs"] = logprobs
    usage = read_usage(document.get("usage"))
    answer_id = document.get("id")
    return completion(ask, [choice], usage, answer_id=answer_id if isinstance(answer_id, str) else None), usage


def finish(reason: object, *, calls: bool, answered: bool) -> Document:
    """The finish reason, and Cohere's word for it. A call that stood for the answer is no call to the client."""
    ours = FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    if calls:
        ours = "tool_calls" if ours == "stop" else ours
    elif answered and ours == "tool_calls":
        ours = "stop"
    shown: Document = {"finish_reason": ours}
    if isinstance(reason, str):
        shown["native_finish_reason"] = reason
    return shown


def _read_content(content: object) -> tuple[str | None, str]:
    """Text (None where there is none) and thinking."""
    if isinstance(content, str):
        return content, ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            if isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif isinstance(part.get("thinking"), str):
                thoughts.append(part["thinking"])
    return "".join(texts) if texts else None, "".join(thoughts)


def _read_calls(ask: Ask, calls: object) -> tuple[list[Document], str]:
    """The tool calls, and the arguments of the one that stands for the answer."""
    stands_for_answer = answer_tool(ask.document)
    found: list[Document] = []
    answer = ""
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        name, arguments = function.get("name"), function.get("arguments")
        arguments = arguments if isinstance(arguments, str) and arguments else "{}"
        if name == stands_for_answer and name is not None:
            answer += arguments
        elif isinstance(name, str):
            call_id = call_name(ask, call.get("id"), len(found))
            found.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
    return found, answer


def call_name(ask: Ask, call_id: object, index: int) -> str:
    """The provider's id of a call, or one made from the answer's."""
    if isinstance(call_id, str) and call_id:
        return call_id
    return f"call_{ask.answer_id.rpartition('-')[2]}_{index}"


def reasoning_details(thinking: str, plan: str) -> list[Document]:
    """Thinking and the plan for the tools, so that they can be sent back."""
    details: list[Document] = []
    if thinking:
        details.append({"type": "reasoning.text", "text": thinking, "format": REASONING_FORMAT, "index": 0})
    if plan:
        details.append({"type": "reasoning.summary", "summary": plan, "format": REASONING_FORMAT, "index": 1})
    return details


def read_citations(citations: object) -> list[Document]:
    """One annotation for each source of each citation; offsets are in characters of the content.

    A source with a `url` is a web page, any other a document or a tool's result. Citations of the plan or of the
    thinking are left out: their offsets are of other text.
    """
    notes: list[Document] = []
    for citation in citations if isinstance(citations, list) else (citations,):
        if not isinstance(citation, dict) or citation.get("type", "TEXT_CONTENT") not in ("TEXT_CONTENT", None):
            continue
        sources = citation.get("sources")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict):
                notes.append(_annotation(citation, source))
    return notes


def _annotation(citation: Document, source: Document) -> Document:
    start, end, text = citation.get("start"), citation.get("end"), citation.get("text")
    held = source.get("document") or source.get("tool_output")
    held = held if isinstance(held, dict) else {}
    inner: Document = {}
    is_page = isinstance(held.get("url"), str)
    if is_page:
        inner["url"] = held["url"]
        if isinstance(held.get("title"), str):
            inner["title"] = held["title"]
    else:
        if isinstance(source.get("id"), str):
            inner["file_id"] = source["id"]
        if isinstance(held.get("title"), str):
            inner["filename"] = held["title"]
        if isinstance(text, str):
            inner["text"] = text
    for name, offset in (("start_index", start), ("end_index", end)):
        if type(offset) is int:
            inner[name] = offset
    kind = "url_citation" if is_page else "file_citation"
    return {"type": kind, kind: inner}


def read_logprobs(items: object) -> Document | None:
    """Log probabilities as OpenAI shows them. Cohere gives one for each token but the text only of several: an entry
    has the text and the probability of all of them together."""
    content: list[Document] = []
    for item in items if isinstance(items, list) else (items,):
        if not isinstance(item, dict):
            continue
        text, values = item.get("text"), item.get("logprobs")
        if isinstance(text, str) and isinstance(values, list) and all(type(value) in (int, float) for value in values):
            shown = list(text.encode(errors="replace"))
            content.append({"token": text, "logprob": float(sum(values)), "bytes": shown, "top_logprobs": []})
    return {"content": content, "refusal": None} if content else None


def read_usage(usage: object) -> Usage | None:
    """What was used, in the units that Cohere bills; in tokens where no billed units are told.

    Tokens are more than billed units: Cohere's own prompt around the client's is free. `cached_tokens` counts
    tokens, so it is told only beside them (https://docs.cohere.com/v2/reference/chat#response, read 2026-11).
    """
    if not isinstance(usage, dict):
        return None
    billed, tokens = _object(usage.get("billed_units")), _object(usage.get("tokens"))
    images = sane(tokens.get("image_tokens")) or sane(billed.get("image_tokens"))
    for units, is_billed in ((billed, True), (tokens, False)):
        if "input_tokens" in units or "output_tokens" in units:
            counts = Usage(sane(units.get("input_tokens")), sane(units.get("output_tokens")))
            counts.image_in = min(images, counts.prompt)
            if not is_billed:
                counts.cached = min(sane(usage.get("cached_tokens")), counts.prompt)
            return counts
    return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def sane(value: object) -> int:
    """A count that money can be computed from, else 0; Cohere's own are numbers with a fraction of zero."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**53 else 0
