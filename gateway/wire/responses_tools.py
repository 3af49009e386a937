"""Tools and the choice between them: the Responses API's form as chat's. Pure.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools and …-tool_choice (read 2026-11).
"""

from __future__ import annotations

from typing import Any

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

WEB_SEARCH = frozenset(
    {"web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"},
)
_WORDS = frozenset({"auto", "none", "required"})
_PLACES = ("city", "country", "region", "timezone")


def put_tools(document: Document, chat: Document) -> None:
    """Read `tools`, `tool_choice`, `parallel_tool_calls` and `max_tool_calls` into the chat request.

    Raises missing_field, invalid_field or unsupported_parameter, naming `tools[index]`.
    """
    functions: list[Document] = []
    search: Document | None = None
    given = document.get("tools")
    for index, value in enumerate(as_list(given, "tools") if given is not None else ()):
        where = f"tools[{index}]"
        tool = as_object(value, where)
        kind = required_text(tool, "type", where)
        if kind == "function":
            functions.append(_function(tool, where))
        elif kind in WEB_SEARCH:
            search = _search(tool, where)
        else:
            raise unsupported(where, f"tools of the type '{kind[:64]}' cannot be given to this model")
    if functions:
        chat["tools"] = functions
    if search is not None:
        chat["web_search_options"] = search
        if document.get("max_tool_calls") is not None:
            raise unsupported("max_tool_calls", "the searches of this model cannot be counted")
    _put_choice(document.get("tool_choice"), chat)
    parallel = document.get("parallel_tool_calls")
    if parallel is not None and type(parallel) is not bool:
        raise invalid("parallel_tool_calls", "must be true or false")
    if parallel is not None and functions:
        chat["parallel_tool_calls"] = parallel


def _function(tool: Document, where: str) -> Document:
    function: Document = {"name": required_text(tool, "name", where)}
    description = optional_text(tool, "description", where)
    if description is not None:
        function["description"] = description
    parameters = tool.get("parameters")
    if parameters is not None:
        function["parameters"] = as_object(parameters, f"{where}.parameters")
    strict = tool.get("strict")
    if strict is not None:
        if type(strict) is not bool:
            raise invalid(f"{where}.strict", "must be true or false")
        function["strict"] = strict
    read: Document = {"type": "function", "function": function}
    if tool.get("cache_control") is not None:
        read["cache_control"] = as_object(tool["cache_control"], f"{where}.cache_control")
    return read


def _search(tool: Document, where: str) -> Document:
    for name, harmless in (("filters", None), ("external_web_access", True)):
        value = tool.get(name)
        if value is not None and value is not harmless and not _empty_filter(value):
            raise unsupported(f"{where}.{name}", "this model's search has no such setting")
    options: Document = {}
    size = optional_text(tool, "search_context_size", where)
    if size is not None:
        options["search_context_size"] = size
    if tool.get("user_location") is not None:
        place = f"{where}.user_location"
        location = as_object(tool["user_location"], place)
        found = {name: optional_text(location, name, place) for name in _PLACES}
        options["user_location"] = {
            "type": "approximate",
            "approximate": {name: value for name, value in found.items() if value is not None},
        }
    return options


def _empty_filter(value: Any) -> bool:
    return type(value) is dict and not any(value.values())


def _put_choice(choice: Any, chat: Document) -> None:
    if choice is None:
        return
    has_functions = "tools" in chat
    if type(choice) is str:
        if choice not in _WORDS:
            raise invalid("tool_choice", "must be auto, none, required or an object")
        if has_functions:
            chat["tool_choice"] = choice
        elif choice == "required":
            raise unsupported("tool_choice", "there is no function that could be required")
        if choice == "none":
            chat.pop("web_search_options", None)
        return
    given = as_object(choice, "tool_choice")
    kind = required_text(given, "type", "tool_choice")
    if kind == "function":
        name = required_text(given, "name", "tool_choice")
        _check_known(name, chat, "tool_choice.name")
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind == "allowed_tools":
        _put_allowed(given, chat)
    else:
        raise unsupported("tool_choice", f"a choice of the type '{kind[:64]}' cannot be given to this model")


def _put_allowed(given: Document, chat: Document) -> None:
    mode = required_text(given, "mode", "tool_choice")
    if mode not in ("auto", "required"):
        raise invalid("tool_choice.mode", "must be auto or required")
    if given.get("tools") is None:
        raise missing("tool_choice.tools")
    allowed: list[Document] = []
    may_search = False
    for index, value in enumerate(as_list(given["tools"], "tool_choice.tools")):
        where = f"tool_choice.tools[{index}]"
        tool = as_object(value, where)
        kind = required_text(tool, "type", where)
        if kind == "function":
            name = required_text(tool, "name", where)
            _check_known(name, chat, f"{where}.name")
            allowed.append({"type": "function", "function": {"name": name}})
        elif kind in WEB_SEARCH and "web_search_options" in chat:
            may_search = True
        else:
            raise invalid(where, "is none of the tools")
    if not may_search:
        chat.pop("web_search_options", None)
    if allowed:
        chat["tool_choice"] = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    elif mode == "required":
        raise unsupported("tool_choice", "there is no function that could be required")
    elif "tools" in chat:
        chat["tool_choice"] = "none"


def _check_known(name: str, chat: Document, field: str) -> None:
    if all(tool["function"]["name"] != name for tool in chat.get("tools", ())):
        raise invalid(field, f"is none of the tools: '{name[:64]}'")
