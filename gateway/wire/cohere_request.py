"""A canonical chat request as Cohere's POST /v2/chat (https://docs.cohere.com/v2/reference/chat, read 2026-11).

Cohere has JSON output (`response_format`), but not beside tools (https://docs.cohere.com/v2/docs/structured-outputs,
read 2026-11). Where a client asks for both, one more tool stands for the answer: its arguments become the content.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.cohere_messages import encode_messages, lacking
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking

# The client's words for what Cohere calls otherwise.
_RENAMED = {"top_p": "p", "top_k": "k"}
# What has the same name; the second row are Cohere's own, passed on for those who know them.
_SAME = (
    *("temperature", "seed", "frequency_penalty", "presence_penalty", "logprobs"),
    *("k", "p", "documents", "citation_options", "safety_mode", "strict_tools", "priority"),
)
# `n` is left to whoever asks several times; usage comes with every stream.
_TAKEN = frozenset(
    {
        *_RENAMED,
        *_SAME,
        *("max_tokens", "max_completion_tokens", "stop", "n", "stream_options"),
        *("tools", "tool_choice", "functions", "function_call", "response_format", "reasoning_effort", "thinking"),
    }
)
# Cohere knows budgets only (https://docs.cohere.com/docs/reasoning, read 2026-11); these are ours. None: no limit.
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": None, "xhigh": None, "max": None}
_ANSWER_TOOL = "give_answer"
_CHOICES = {"auto": None, "none": "NONE", "required": "REQUIRED", "any": "REQUIRED"}


def encode_chat(ask: Ask) -> Encoded:
    """The request. Raises unsupported_parameter or invalid_field naming the field."""
    document = ask.document
    dropped = settle_lacking(document, _TAKEN, ask.policy, "Cohere")
    body: Document = {"model": ask.model, "messages": encode_messages(document.get("messages")), "stream": ask.stream}
    for name in _SAME:
        if document.get(name) is not None:
            body[name] = document[name]
    for name, theirs in _RENAMED.items():
        if document.get(name) is not None:
            body[theirs] = document[name]
    limit = document.get("max_completion_tokens")
    limit = document.get("max_tokens") if limit is None else limit
    if limit is not None:
        body["max_tokens"] = limit
    _encode_stop(document.get("stop"), body)
    _encode_thinking(document, body)
    if _encode_tools(document, body):
        dropped.append("tools.function.strict")
    return Encoded("/v2/chat", dump(body), dropped=dropped)


def dump(body: Document) -> bytes:
    """The body as JSON. Raises invalid_json for what JSON cannot hold: half surrogates, huge numbers, deep nesting."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise GatewayError("invalid_json", f"The request cannot be written as JSON: {error}.") from None


def answer_tool(document: Document) -> str | None:
    """The name of the tool that stands for a JSON answer; None where no such tool is needed.

    The same for request and answer, so that nothing need be kept between them. A client that demands a call gets
    no content, so that its format does not matter.
    """
    wanted = document.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return None
    try:
        names = {function["name"] for function in _functions(document)}
        choice, _ = _choice(document)
    except GatewayError:
        return None
    if not names or choice is not None:
        return None
    name = _ANSWER_TOOL
    while name in names:
        name += "_"
    return name


def _encode_stop(stop: object, body: Document) -> None:
    if isinstance(stop, str):
        body["stop_sequences"] = [stop]
    elif isinstance(stop, list):
        if stop:
            body["stop_sequences"] = stop
    elif stop is not None:
        raise invalid("stop", "must be a string or an array of strings")


def _encode_thinking(document: Document, body: Document) -> None:
    """`thinking` goes before `reasoning_effort`, being the more exact."""
    thinking = document.get("thinking")
    effort = document.get("reasoning_effort")
    if thinking is not None:
        kind = thinking.get("type") if isinstance(thinking, dict) else None
        if kind not in ("enabled", "disabled", "adaptive"):
            raise invalid("thinking.type", "must be enabled or disabled")
        body["thinking"] = {"type": "disabled" if kind == "disabled" else "enabled"}
        if thinking.get("budget_tokens") is not None and kind != "disabled":
            body["thinking"]["token_budget"] = thinking["budget_tokens"]
    elif effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if not isinstance(effort, str) or effort not in _BUDGETS:
            raise invalid("reasoning_effort", f"must be none, {', '.join(_BUDGETS)}")
        body["thinking"] = {"type": "enabled"}
        if _BUDGETS[effort] is not None:
            body["thinking"]["token_budget"] = _BUDGETS[effort]


def _encode_tools(document: Document, body: Document) -> bool:
    """Tools, the choice among them and the answer's format; true where `strict` had to be left out.

    `strict_tools` is for all tools at once, and refused where one has no required parameter
    (https://docs.cohere.com/v2/docs/structured-outputs#structured-outputs-tools, read 2026-11).
    """
    functions = _functions(document)
    choice, only = _choice(document)
    if only is not None:
        known = {function.get("name") for function in functions}
        if not only <= known:
            raise invalid("tool_choice", "names a tool that is not among the tools")
        functions = [function for function in functions if function.get("name") in only]
    tools = [_tool(function, index) for index, function in enumerate(functions)]
    name = answer_tool(document)
    wanted = _schema(document.get("response_format"))
    if name is not None:
        about = "Give the final answer to the user by calling this."
        schema = wanted.get("json_schema") or {"type": "object"}
        tools.append({"type": "function", "function": {"name": name, "description": about, "parameters": schema}})
        choice = "REQUIRED"
    elif wanted and (not tools or choice == "NONE"):
        # Where nothing may be called, nothing is lost when the tools stay behind.
        body["response_format"] = wanted
        tools = []
    if not tools:
        return False
    body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if not any(function.get("strict") is True for function in functions):
        return False
    if not all(tool["function"]["parameters"].get("required") for tool in tools):
        return "strict_tools" not in body
    body.setdefault("strict_tools", True)
    return False


def _schema(wanted: object) -> Document:
    """The wish for JSON in Cohere's form; empty where there is none."""
    if wanted is None:
        return {}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return {}
    if not isinstance(wanted, dict) or kind not in ("json_object", "json_schema"):
        raise invalid("response_format.type", "must be text, json_object or json_schema")
    if kind == "json_object":
        return {"type": "json_object"}
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise invalid("response_format.json_schema.schema", "must be an object")
    return {"type": "json_object", "json_schema": schema}


def _functions(document: Document) -> list[Document]:
    """What may be called: the functions of `tools`, then the deprecated `functions`."""
    tools, functions = document.get("tools"), document.get("functions")
    found: list[Document] = []
    for name, given in (("tools", tools), ("functions", functions)):
        if given is not None and not isinstance(given, list):
            raise invalid(name, "must be an array")
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            raise invalid(f"tools[{index}]", "must be an object")
        if tool.get("type", "function") != "function":
            raise lacking(f"tools[{index}].type", "a tool that is not a function")
        found.append(_named(tool.get("function"), f"tools[{index}].function"))
    found += [_named(function, f"functions[{index}]") for index, function in enumerate(functions or ())]
    return found


def _named(function: object, field: str) -> Document:
    if not isinstance(function, dict):
        raise invalid(field, "must be an object")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise invalid(f"{field}.name", "must be a non-empty string")
    return function


def _tool(function: Document, index: int) -> Document:
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise invalid(f"tools[{index}].function.parameters", "must be an object")
    inner = {"name": function["name"], "parameters": parameters}
    if isinstance(function.get("description"), str):
        inner["description"] = function["description"]
    return {"type": "function", "function": inner}


def _choice(document: Document) -> tuple[str | None, set[Any] | None]:
    """Cohere's word for the choice, and the names that it is limited to (it cannot name one: the others are left out).

    `{"type": "function"}` and `function_call` name one, `{"type": "allowed_tools"}` several.
    """
    choice = document.get("tool_choice")
    choice = document.get("function_call") if choice is None else choice
    if choice is None:
        return None, None
    if isinstance(choice, str) and choice in _CHOICES:
        return _CHOICES[choice], None
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
            tools = allowed.get("tools")
            names = {_name_in(tool) for tool in tools} if isinstance(tools, list) else {None}
            if None not in names:
                return _CHOICES["required" if allowed.get("mode") == "required" else "auto"], names
        elif (name := _name_in(choice)) is not None:
            return "REQUIRED", {name}
    raise invalid("tool_choice", "must be none, auto, required, or name a function or the allowed tools")


def _name_in(choice: object) -> str | None:
    if not isinstance(choice, dict):
        return None
    holder = choice.get("function", choice)
    name = holder.get("name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) and name else None
