"""What stands in a Responses answer: the response object, its usage, annotations and logprobs. Pure.

https://platform.openai.com/docs/api-reference/responses/object (read 2026-11).
"""

from __future__ import annotations

import re
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.responses_tools import WEB_SEARCH
from gateway.wire.usage import Usage

_MAX_TAIL_CHARS = 200
# More is no number (NaN included): JSON has neither infinities nor integers of any size.
_MAX_LOGPROB = 1e9
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_CHAT_PREFIXES = ("chatcmpl-", "chatcmpl_", "resp_")
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
# Told as they were asked, or as null.
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
)
# Finish reasons that make an answer incomplete, and what its details say.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_id_of(answer_id: object) -> str:
    """The response's id for a canonical answer's, the same for the same; an id of ours stays."""
    text = answer_id if isinstance(answer_id, str) else ""
    for prefix in _CHAT_PREFIXES:
        if text.startswith(prefix):
            text = text[len(prefix) :]
            break
    return "resp_" + (_NOT_IN_AN_ID.sub("_", text)[:_MAX_TAIL_CHARS] or "0")


def tail_of(response_id: str) -> str:
    """What a response's items have in their ids."""
    return response_id.removeprefix("resp_")


def skeleton(document: Document, response_id: str, created: object, model: object) -> Document:
    """The response as it begins: what was asked for, and nothing said yet.

    `document` has passed `canonical`. What it leaves open is told as OpenAI's default.
    """
    return {
        "id": response_id,
        "object": "response",
        "created_at": _index(created, 0),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": model if isinstance(model, str) else document.get("model"),
        "output": [],
        "usage": None,
        "truncation": "disabled",
        **{name: document.get(name) for name in _ECHOED},
        **_asked(document),
    }


def _asked(document: Document) -> Document:
    get = document.get
    text = get("text") or {}
    reasoning = get("reasoning") or {}
    return {
        "metadata": get("metadata") or {},
        "parallel_tool_calls": get("parallel_tool_calls") is not False,
        "reasoning": {
            "effort": reasoning.get("effort"),
            "summary": reasoning.get("summary") or reasoning.get("generate_summary"),
        },
        "service_tier": _tier(get("service_tier")) or "default",
        "store": get("store") is not False,
        "temperature": _or(get("temperature"), 1.0),
        "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": get("tool_choice") or "auto",
        "tools": [_tool(tool) for tool in get("tools") or ()],
        "top_logprobs": get("top_logprobs") or 0,
        "top_p": _or(get("top_p"), 1.0),
    }


def _or(value: Any, default: float) -> Any:
    return default if value is None else value


def _tier(value: object) -> str | None:
    return value if isinstance(value, str) and value in _TIERS else None


def _tool(tool: Document) -> Document:
    if tool.get("type") in WEB_SEARCH:
        return tool
    return {
        "type": "function",
        "name": tool["name"],
        "description": tool.get("description"),
        "parameters": tool.get("parameters"),
        "strict": tool.get("strict") is True,
    }


def put_end(response: Document, finish_reason: str | None, usage: Usage | None, tier: object) -> None:
    """Write into a response how it ended and what it used."""
    why = INCOMPLETE.get(finish_reason or "")
    response["status"] = "incomplete" if why else "completed"
    response["incomplete_details"] = {"reason": why} if why else None
    response["service_tier"] = _tier(tier) or response["service_tier"]
    response["usage"] = usage_of(usage) if usage is not None else None


def put_failure(response: Document, error: GatewayError) -> None:
    """Write into a response that it failed. OpenAI has few codes here; the gateway's own is in the `error` event."""
    if error.status == 429:
        code = "rate_limit_exceeded"
    elif error.status < 500:
        code = "invalid_prompt"
    else:
        code = "server_error"
    response["status"] = "failed"
    response["error"] = {"code": code, "message": error.message}


def usage_of(usage: Usage) -> Document:
    """Usage as the Responses API writes it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def annotation_of(canonical: object, length: int) -> Document | None:
    """A canonical annotation, flattened; None for what is none of the two kinds.

    Clients rely on every field: a place that is not known is the end of the text so far (`length` characters).
    """
    if not isinstance(canonical, dict):
        return None
    kind = canonical.get("type")
    inner = canonical.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, dict):
        return None
    end = _index(inner.get("end_index"), length)
    if kind == "url_citation":
        return {
            "type": kind,
            "url": _text(inner.get("url")),
            "title": _text(inner.get("title")),
            "start_index": _index(inner.get("start_index"), end),
            "end_index": end,
        }
    if kind == "file_citation":
        return {
            "type": kind,
            "file_id": _text(inner.get("file_id")),
            "filename": _text(inner.get("filename")),
            "index": end,
        }
    return None


def _index(value: object, default: int) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else default


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def logprobs_of(logprobs: object) -> list[Document]:
    """The tokens of a choice's `logprobs`; those that are no tokens are left out."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return []
    return [
        {**read, "top_logprobs": _tops(token.get("top_logprobs"))}
        for token in content
        if isinstance(token, dict) and (read := _token(token)) is not None
    ]


def _tops(tops: object) -> list[Document]:
    found = (_token(top) for top in tops if isinstance(top, dict)) if isinstance(tops, list) else ()
    return [top for top in found if top is not None]


def _token(given: Document) -> Document | None:
    token, logprob = given.get("token"), given.get("logprob")
    if not isinstance(token, str) or not isinstance(logprob, (int, float)) or isinstance(logprob, bool):
        return None
    if not abs(logprob) < _MAX_LOGPROB:
        return None
    raw = given.get("bytes")
    if not isinstance(raw, list) or any(type(byte) is not int or not 0 <= byte < 256 for byte in raw):
        raw = list(token.encode("utf-8", "replace"))
    return {"token": token, "bytes": raw, "logprob": logprob}
