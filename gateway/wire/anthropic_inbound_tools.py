"""Tools of Anthropic's format as canonical ones.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview (read 2026-11). A client's own tools become
functions. Of the tools that Anthropic runs or defines itself, web search has a counterpart elsewhere; the others
exist only there and are refused by name.
"""

from __future__ import annotations

from gateway.wire.checks import (
    as_list,
    as_object,
    invalid,
    missing,
    optional_text,
    required_text,
    unsupported,
)
from gateway.wire.dialect import Document

# Followed by the date of its version.
_WEB_SEARCH = "web_search_"
_PLACE = ("city", "country", "region", "timezone")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_tools(document: Document, request: Document) -> None:
    """Put the tools into `request`, as functions and web_search_options.

    Raises missing_field, invalid_field or unsupported_parameter under `tools[…]`.
    """
    given = document.get("tools")
    if given is None:
        return
    functions = []
    for index, value in enumerate(as_list(given, "tools")):
        where = f"tools[{index}]"
        tool = as_object(value, where)
        kind = optional_text(tool, "type", where)
        if kind is None or kind == "custom":
            functions.append(_function(tool, where))
        elif kind.startswith(_WEB_SEARCH):
            request["web_search_options"] = _web_search(tool, where)
        else:
            raise unsupported(f"{where}.type", f"the tool '{kind[:64]}' is not available with this model")
    if functions:
        request["tools"] = functions


def _function(tool: Document, where: str) -> Document:
    """A client's tool. Its examples, and how it is loaded and streamed, have no counterpart and change no answer."""
    function: Document = {"name": required_text(tool, "name", where)}
    description = optional_text(tool, "description", where)
    if description is not None:
        function["description"] = description
    schema = tool.get("input_schema")
    if schema is None:
        raise missing(f"{where}.input_schema")
    function["parameters"] = as_object(schema, f"{where}.input_schema")
    strict = tool.get("strict")
    if strict is not None:
        if type(strict) is not bool:
            raise invalid(f"{where}.strict", "must be true or false")
        function["strict"] = strict
    made: Document = {"type": "function", "function": function}
    if tool.get("cache_control") is not None:
        made["cache_control"] = as_object(tool["cache_control"], f"{where}.cache_control")
    return made


def _web_search(tool: Document, where: str) -> Document:
    """Web search in OpenAI's terms; how often it may search is left to the provider, what it may read is not.

    https://platform.openai.com/docs/guides/tools-web-search (read 2026-11)
    """
    for name in ("allowed_domains", "blocked_domains"):
        if tool.get(name):
            raise unsupported(f"{where}.{name}", "this model's web search cannot be limited to domains")
    location = tool.get("user_location")
    if location is None:
        return {}
    given = as_object(location, f"{where}.user_location")
    texts = {name: optional_text(given, name, f"{where}.user_location") for name in _PLACE}
    place = {name: text for name, text in texts.items() if text}
    return {"user_location": {"type": "approximate", "approximate": place}}


def read_tool_choice(document: Document, request: Document) -> None:
    """Put tool_choice and parallel_tool_calls into `request`, whose tools have been read.

    Raises missing_field, invalid_field or unsupported_parameter under `tool_choice`.
    """
    given = document.get("tool_choice")
    if given is None:
        return
    choice = as_object(given, "tool_choice")
    kind = required_text(choice, "type", "tool_choice")
    if kind == "tool":
        name = required_text(choice, "name", "tool_choice")
        names = [tool["function"]["name"] for tool in request.get("tools", ())]
        if name not in names:
            raise invalid("tool_choice.name", "names no tool of this request that can be called")
        request["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind not in _CHOICES:
        raise invalid("tool_choice.type", f"must be one of {', '.join([*_CHOICES, 'tool'])}")
    elif "tools" in request:
        request["tool_choice"] = _CHOICES[kind]
    elif kind == "any":
        raise unsupported("tool_choice", "there is no tool of the client's own that could be called")
    alone = choice.get("disable_parallel_tool_use")
    if alone is not None and type(alone) is not bool:
        raise invalid("tool_choice.disable_parallel_tool_use", "must be true or false")
    if alone and "tools" in request:
        request["parallel_tool_calls"] = False
