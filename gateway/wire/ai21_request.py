"""A canonical chat request as AI21's POST /chat/completions (https://docs.ai21.com/reference/jamba-1-6-api-ref,
read 2026-11)."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking

_SAME = ("temperature", "top_p")
_TAKEN = frozenset(
    {
        *_SAME,
        *("max_tokens", "max_completion_tokens", "stop", "n", "stream_options", "documents", "response_format"),
        *("tools", "functions"),
    }
)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_AS_JSON = "Answer with one JSON object and nothing else. It must follow this JSON schema: "


def _lacks(field: str, what: str) -> GatewayError:
    return GatewayError("unsupported_parameter", f"The field '{field}' holds {what}, which AI21 lacks.", param=field)


def encode_chat(ask: Ask) -> Encoded:
    """The request. Raises invalid_field, unsupported_parameter or invalid_json naming the field."""
    document = ask.document
    dropped = settle_lacking(document, _TAKEN, ask.policy, "AI21")
    messages = _messages(document.get("messages"))
    body: Document = {"model": ask.model, "messages": messages, "stream": ask.stream}
    for name in _SAME:
        if document.get(name) is not None:
            body[name] = document[name]
    limit = document.get("max_completion_tokens")
    limit = document.get("max_tokens") if limit is None else limit
    if limit is not None:
        body["max_tokens"] = limit
    stop = document.get("stop")
    if stop is not None and not isinstance(stop, (str, list)):
        raise invalid("stop", "must be a string or an array of strings")
    if stop:
        body["stop"] = [stop] if isinstance(stop, str) else stop
    if document.get("n") is not None and not ask.stream:
        body["n"] = document["n"]
    if document.get("documents") is not None:
        body["documents"] = _documents(document["documents"])
    if "none" not in (document.get("tool_choice"), document.get("function_call")):
        tools = _tools(document)
        if tools:
            body["tools"] = tools
    _encode_format(document.get("response_format"), body)
    try:
        return Encoded("/chat/completions", orjson.dumps(body), dropped=dropped)
    except orjson.JSONEncodeError as error:
        raise GatewayError("invalid_json", f"The request cannot be written as JSON: {error}.") from None


def _messages(messages: object) -> list[Document]:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a non-empty array")
    out: list[Document] = []
    called: dict[Any, str] = {}  # deprecated function calls: name → id
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise invalid(where, "must be an object")
        role = message.get("role")
        if role in ("tool", "function"):
            call_id = message.get("tool_call_id")
            name = message.get("name")
            if call_id is None and isinstance(name, str):
                call_id = called.get(name)
            if not isinstance(call_id, str) or not call_id:
                raise invalid(f"{where}.tool_call_id", "must name the tool call that it answers")
            out.append({"role": "tool", "tool_call_id": call_id, "content": _text(message.get("content") or "", where)})
            continue
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant, tool or function")
        shown: Document = {"role": _ROLES[role]}
        calls = _calls(message, where, called, index) if role == "assistant" else []
        content = message.get("content")
        if role == "assistant":
            content = content or message.get("refusal") or ""
        text = _text(content, where)
        if text or not calls:
            shown["content"] = text
        if calls:
            shown["tool_calls"] = calls
        out.append(shown)
    return out


def _text(content: object, where: str) -> str:
    """The content as one text: parts are joined, and anything but text refused."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{where}.content", "must be a string or an array of parts")
    texts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise _lacks(f"{where}.content[{index}]", f"a part of type {ascii(kind)[:40]}")
        if not isinstance(part.get(kind), str):
            raise invalid(f"{where}.content[{index}].{kind}", "must be a string")
        texts.append(part[kind])
    return "\n".join(texts)


def _calls(message: Document, where: str, called: dict[Any, str], index: int) -> list[Document]:
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise invalid(f"{where}.tool_calls", "must be an array")
    found = []
    for position, call in enumerate(calls or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if function is None or not isinstance(call.get("id"), str) or not call["id"]:
            raise invalid(f"{where}.tool_calls[{position}]", "must be a function call with an id")
        found.append(_call(call["id"], function, f"{where}.tool_calls[{position}].function"))
    if message.get("function_call") is not None:
        found.append(_call(f"call_{index}", message["function_call"], f"{where}.function_call"))
        called[found[-1]["function"]["name"]] = found[-1]["id"]
    return found


def _call(call_id: str, function: object, field: str) -> Document:
    name = function.get("name") if isinstance(function, dict) else None
    arguments = (function.get("arguments") or "{}") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, str):
        raise invalid(field, "must have a name and arguments that are strings")
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tools(document: Document) -> list[Document]:
    found = []
    for field in ("tools", "functions"):
        given = document.get(field)
        if given is not None and not isinstance(given, list):
            raise invalid(field, "must be an array")
        for index, tool in enumerate(given or ()):
            where = f"{field}[{index}]"
            if field == "tools" and isinstance(tool, dict) and tool.get("type", "function") != "function":
                raise _lacks(f"{where}.type", "a tool that is not a function")
            function = tool.get("function") if field == "tools" and isinstance(tool, dict) else tool
            if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
                raise invalid(f"{where}.name", "must be a non-empty string")
            shown = {key: function[key] for key in ("name", "description", "parameters") if function.get(key)}
            found.append({"type": "function", "function": shown})
    return found


def _documents(documents: object) -> list[Any]:
    """AI21's documents, `{"content", "metadata"}`; a plain text is one with nothing else to it."""
    if not isinstance(documents, list):
        raise invalid("documents", "must be an array")
    return [{"content": item} if isinstance(item, str) else item for item in documents]


def _encode_format(wanted: object, body: Document) -> None:
    """JSON is asked for natively; a schema is told to the model at the end of the first system message."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or kind == "text":
        return
    if not isinstance(wanted, dict) or kind not in ("json_object", "json_schema"):
        raise invalid("response_format.type", "must be text, json_object or json_schema")
    body["response_format"] = {"type": "json_object"}
    if kind == "json_object":
        return
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise invalid("response_format.json_schema.schema", "must be an object")
    try:
        told = _AS_JSON + orjson.dumps(schema).decode()
    except orjson.JSONEncodeError:
        raise invalid("response_format.json_schema.schema", "cannot be written as JSON") from None
    first = body["messages"][0]
    if first["role"] == "system":
        first["content"] = f"{first['content']}\n\n{told}" if first["content"] else told
    else:
        body["messages"].insert(0, {"role": "system", "content": told})
