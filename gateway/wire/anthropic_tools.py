"""Tools, the choice among them, and JSON answers, which are native, or the arguments of a tool made for them.

Formats: https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview and .../build-with-claude/
structured-outputs (read 2026-11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.errors import GatewayError
from gateway.wire.anthropic_models import Traits
from gateway.wire.anthropic_schema import Narrowed
from gateway.wire.anthropic_thinking import wants_thinking
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document
from gateway.wire.lacking import settle_lacking

JSON_TOOL = "json_answer"
# Anthropic's own tools name the date of their format.
_OWN_TOOL = re.compile(r"[a-z_]+_20\d{6}")
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs (read 2026-11): 20 strict tools a request.
_MAX_STRICT = 20
_ANY_OBJECT: Document = {"type": "object"}


class Choice(NamedTuple):
    """The client's choice: `kind` is auto, none, any or tool; `allowed` are the only tools to offer, if given."""

    kind: str = "auto"
    name: str = ""
    allowed: frozenset[str] | None = None
    field: str = "tool_choice"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a JSON answer is had: `native` is output_config.format, `tool` the tool whose arguments are the answer.

    `tool_name` is that tool's name, empty where there is none.
    """

    native: Document | None = None
    tool: Document | None = None
    tool_name: str = ""


_PLAIN = AnswerForm()


def answer_form(ask: Ask, traits: Traits) -> AnswerForm:
    """The form that `response_format` asks for. Raises invalid_field for what is none of OpenAI's.

    A schema that structured outputs can express is sent natively to the models that have them. The rest becomes a
    tool that is forced, unless that would cost the client something that it asked for (its own tools, thinking with
    a budget) or the model takes no forced tool: then natively too, as far as can be. Where the client demands a
    call of its own tool, the answer is that call, and there is none of this.
    """
    asked = ask.document.get("response_format")
    if asked is None:
        return _PLAIN
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind == "text":
        return _PLAIN
    if kind not in ("json_object", "json_schema"):
        raise invalid("response_format.type", "must be text, json_object or json_schema")
    if has_tools(ask.document) and read_choice(ask.document).kind in ("any", "tool"):
        return _PLAIN
    if kind == "json_object":
        return _by_tool(ask, _ANY_OBJECT, {})
    schema, about = _schema(asked)
    if traits.structured:
        narrowed = Narrowed(schema)
        rather = narrowed.exact or not traits.forced_tools or has_tools(ask.document)
        if narrowed.possible and (rather or (not traits.adaptive and wants_thinking(ask.document))):
            return AnswerForm(native={"type": "json_schema", "schema": narrowed.schema})
    return _by_tool(ask, schema, about)


def _schema(asked: Document) -> tuple[Document, Document]:
    about = asked.get("json_schema")
    if not isinstance(about, dict):
        raise invalid("response_format.json_schema", "must be an object")
    schema = about.get("schema")
    if schema is None:
        return _ANY_OBJECT, about
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise invalid("response_format.json_schema.schema", 'must be a JSON schema of type "object"')
    return (schema if "type" in schema else {"type": "object", **schema}), about


def _by_tool(ask: Ask, schema: Document, about: Document) -> AnswerForm:
    taken = {_function_name(tool) for field in ("tools", "functions") for tool in _listed(ask.document, field)}
    name = JSON_TOOL
    while name in taken:
        name += "_"
    described = about.get("description")
    text = "Gives the answer, which is nothing but the arguments of this tool."
    tool: Document = {
        "name": name,
        "description": f"{text} {described}" if isinstance(described, str) and described else text,
        "input_schema": schema,
    }
    return AnswerForm(tool=tool, tool_name=name)


def _listed(document: Document, field: str) -> list[Any]:
    value = document.get(field)
    return value if isinstance(value, list) else []


def _function_name(tool: object) -> object:
    if not isinstance(tool, dict):
        return None
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else None


def has_tools(document: Document) -> bool:
    """Does the client bring tools, in either form?"""
    return bool(document.get("tools") or document.get("functions"))


def read_choice(document: Document) -> Choice:
    """The client's `tool_choice`, or the older `function_call`. Raises invalid_field for anything else."""
    field = "tool_choice"
    choice = document.get(field)
    if choice is None and document.get("function_call") is not None:
        field = "function_call"
        choice = document[field]
    if choice is None or choice == "auto":
        return Choice(field=field)
    if choice in ("none", "required"):
        return Choice("none" if choice == "none" else "any", field=field)
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind == "allowed_tools":
            return _read_allowed(choice)
        function = choice if field == "function_call" else choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name and (kind == "function" or field == "function_call"):
            return Choice("tool", name, field=field)
    raise invalid(field, "must be none, auto, required, or name a function")


def _read_allowed(choice: Document) -> Choice:
    """https://platform.openai.com/docs/guides/function-calling#allowed-tools (read 2026-11)."""
    allowed = choice.get("allowed_tools")
    tools = allowed.get("tools") if isinstance(allowed, dict) else None
    mode = allowed.get("mode") if isinstance(allowed, dict) else None
    if not isinstance(tools, list) or mode not in ("auto", "required"):
        raise invalid("tool_choice.allowed_tools", "must have a mode of auto or required, and tools")
    names = frozenset(name for name in map(_function_name, tools) if isinstance(name, str))
    return Choice("auto" if mode == "auto" else "any", allowed=names)


def put_tools(ask: Ask, traits: Traits, form: AnswerForm, called: list[str], body: Document) -> list[str]:
    """Puts `tools` and `tool_choice` into `body`; returns what was dropped.

    `called` are the functions that the conversation has called: the API wants tools defined where it sees calls.
    Raises invalid_field, unsupported_parameter.
    """
    choice = read_choice(ask.document)
    dropped: list[str] = []
    tools = _client_tools(ask.document, traits, choice.allowed)
    if form.tool is None and choice.kind in ("any", "tool") and tools and not traits.forced_tools:
        lacking = {choice.field: ask.document[choice.field]}
        dropped += settle_lacking(lacking, frozenset(), ask.policy, f"the model '{ask.shown_model}'")
        choice = Choice(allowed=choice.allowed)
    search = ask.document.get("web_search_options")
    if search is not None:
        tools.append(_web_search(search))
    if not tools and form.tool is None:
        if called:
            body["tools"] = [{"name": name, "input_schema": _ANY_OBJECT} for name in dict.fromkeys(called)]
            body["tool_choice"] = {"type": "none"}
        return dropped
    body["tools"] = [*tools, form.tool] if form.tool is not None else tools
    made = _made_choice(traits, form, choice, others=bool(tools))
    if ask.document.get("parallel_tool_calls") is False and made.get("type") != "none":
        made["disable_parallel_tool_use"] = True
    if made != {"type": "auto"}:
        body["tool_choice"] = made
    return dropped


def _made_choice(traits: Traits, form: AnswerForm, choice: Choice, *, others: bool) -> Document:
    if form.tool is None:
        return {"type": choice.kind, "name": choice.name} if choice.kind == "tool" else {"type": choice.kind}
    if not traits.forced_tools:
        return {"type": "auto"}
    if others and choice.kind != "none":
        return {"type": "any"}
    return {"type": "tool", "name": form.tool_name, "disable_parallel_tool_use": True}


def json_instruction(traits: Traits, form: AnswerForm) -> str:
    """What the system prompt has to say where the tool for the answer cannot be forced; else empty."""
    if form.tool is None or traits.forced_tools:
        return ""
    return f"Give your final answer by calling the tool {form.tool_name}, and in no other way."


def _client_tools(document: Document, traits: Traits, allowed: frozenset[str] | None) -> list[Document]:
    made: list[Document] = []
    strict = 0
    for field in ("tools", "functions"):
        given = document.get(field)
        if given is None:
            continue
        if not isinstance(given, list):
            raise invalid(field, "must be an array")
        for index, tool in enumerate(given):
            place = f"{field}[{index}]"
            one = _client_tool(tool if field == "tools" else {"type": "function", "function": tool}, place)
            if allowed is not None and one.get("name") not in allowed:
                continue
            if "input_schema" in one and one.pop("strict", False) and traits.structured and strict < _MAX_STRICT:
                narrowed = Narrowed(one["input_schema"])
                if narrowed.exact:
                    strict += 1
                    one |= {"strict": True, "input_schema": narrowed.schema}
            made.append(one)
    return made


def _client_tool(tool: object, place: str) -> Document:
    if not isinstance(tool, dict):
        raise invalid(place, "must be an object")
    kind = tool.get("type")
    if isinstance(kind, str) and _OWN_TOOL.fullmatch(kind):
        return {key: value for key, value in tool.items() if key != "input_schema"}
    function = tool.get("function")
    if kind != "function":
        message = f"The field '{place}.type' names a kind of tool that Claude models do not have; it must be function."
        raise GatewayError("unsupported_parameter", message, param=f"{place}.type")
    if not isinstance(function, dict):
        raise invalid(f"{place}.function", "must be an object")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"{place}.function.name", "must be a non-empty string")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid(f"{place}.function.parameters", "must be a JSON schema")
    made: Document = {"name": name}
    if isinstance(function.get("description"), str) and function["description"]:
        made["description"] = function["description"]
    schema = parameters or _ANY_OBJECT
    made["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    if function.get("strict") is True:
        made["strict"] = True
    marker = tool.get("cache_control") or function.get("cache_control")
    if isinstance(marker, dict):
        made["cache_control"] = marker
    return made


def _web_search(options: object) -> Document:
    """https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool (read 2026-11)."""
    if not isinstance(options, dict):
        raise invalid("web_search_options", "must be an object")
    tool: Document = {"type": "web_search_20250305", "name": "web_search"}
    location = options.get("user_location")
    if location is not None:
        about = location.get("approximate") if isinstance(location, dict) else None
        if not isinstance(about, dict):
            raise invalid("web_search_options.user_location", "must have an approximate location")
        known = {key: about[key] for key in ("city", "region", "country", "timezone") if about.get(key)}
        tool["user_location"] = {"type": "approximate", **known}
    return tool
