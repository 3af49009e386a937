"""Tools, their choice and the form of the answer, as Gemini's `tools`, `toolConfig` and `responseJsonSchema`.

https://ai.google.dev/api/caching#Tool and https://ai.google.dev/gemini-api/docs/structured-output (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.wire.checks import invalid
from gateway.wire.gemini_model import THIRD, generation
from gateway.wire.gemini_parts import lacks, text_of
from gateway.wire.gemini_schema import clean_schema

Document = dict[str, Any]

# Google's own tools, passed on by name.
_BUILT_IN = {
    "codeExecution": "codeExecution",
    "code_execution": "codeExecution",
    "enterpriseWebSearch": "enterpriseWebSearch",
    "fileSearch": "fileSearch",
    "file_search": "fileSearch",
    "googleMaps": "googleMaps",
    "google_maps": "googleMaps",
    "googleSearch": "googleSearch",
    "google_search": "googleSearch",
    "googleSearchRetrieval": "googleSearchRetrieval",
    "retrieval": "retrieval",
    "urlContext": "urlContext",
    "url_context": "urlContext",
}
_ANSWER = "give_final_answer"
_ANSWER_PURPOSE = "Call this to give the final answer to the user, in the form that its parameters describe."
_FIRST_VALIDATED = (2, 5)


@dataclass(slots=True)
class Tooling:
    """What a request says of tools: `tools` and `tool_config` for the body, `response` for `generationConfig`.

    `answer_tool` is the function whose arguments are the answer, where the model cannot give tools and a form for
    the answer at once; empty where it can. `lost` are fields that had to be left out, `cache_marks` as in messages.
    """

    tools: list[Document] = field(default_factory=list)
    tool_config: Document = field(default_factory=dict)
    response: Document = field(default_factory=dict)
    answer_tool: str = ""
    lost: list[str] = field(default_factory=list)
    cache_marks: bool = False


@dataclass(slots=True)
class _Choice:
    """`mode` is auto, none or required; `names` are the only functions allowed, where not all are."""

    mode: str = "auto"
    names: list[str] = field(default_factory=list)


def answer_tool(document: Mapping[str, Any], model: str) -> str:
    """The name of the function that stands in for `json_schema`, empty where none does.

    Models before the third generation refuse a form for the answer beside tools; with any of them to be called, one
    may be the answer itself.
    """
    given = document.get("response_format")
    if not isinstance(given, dict) or given.get("type") != "json_schema" or generation(model) >= THIRD:
        return ""
    names = _function_names(document)
    choice = document.get("tool_choice") or document.get("function_call")
    if not names or choice == "none" or _names_one(choice):
        return ""
    name = _ANSWER
    while name in names:
        name += "_"
    return name


def read_tooling(document: Mapping[str, Any], model: str, *, validated: bool, mixed: bool) -> Tooling:
    """Raises invalid_field or unsupported_parameter naming the field.

    `validated` says whether the API has the mode that holds calls to their schema, `mixed` whether Google's own
    tools beside functions have to be announced.
    """
    tooling = Tooling(answer_tool=answer_tool(document, model))
    functions, strict = _read_tools(document, tooling)
    choice = _read_choice(document)
    if choice.mode == "auto" and choice.names:
        functions = [function for function in functions if function["name"] in choice.names]
        choice.names = []
    _read_form(document, model, tooling, functions, choice)
    if functions:
        tooling.tools.insert(0, {"functionDeclarations": functions})
        strict = strict and validated and generation(model) >= _FIRST_VALIDATED
        _set_mode(tooling, choice, strict=strict)
        if mixed and len(tooling.tools) > 1 and generation(model) >= THIRD:
            tooling.tool_config["includeServerSideToolInvocations"] = True
    return tooling


def _read_tools(document: Mapping[str, Any], tooling: Tooling) -> tuple[list[Document], bool]:
    """The declarations of functions, and whether any is strict; Google's own tools go to `tooling` at once."""
    functions: list[Document] = []
    strict = False
    for index, tool in enumerate(_list(document.get("tools"), "tools")):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise invalid(where, "must be an object")
        tooling.cache_marks = tooling.cache_marks or "cache_control" in tool
        if tool.get("type", "function") == "function" and "function" in tool:
            function = tool["function"]
            functions.append(_declaration(function, f"{where}.function"))
            strict = strict or function.get("strict") is True
            continue
        own = {_BUILT_IN[name]: value for name, value in tool.items() if name in _BUILT_IN}
        if not own:
            raise lacks(where, f"a tool of a kind that is not supported: {str(tool.get('type'))[:40]}")
        tooling.tools.append(own)
    for index, function in enumerate(_list(document.get("functions"), "functions")):
        functions.append(_declaration(function, f"functions[{index}]"))
    if isinstance(document.get("web_search_options"), dict):
        tooling.tools.append({"googleSearch": {}})
    return functions, strict


def _declaration(function: object, where: str) -> Document:
    if not isinstance(function, dict):
        raise invalid(where, "must be an object")
    declared: Document = {"name": text_of(function.get("name"), f"{where}.name")}
    if function.get("description") is not None:
        declared["description"] = text_of(function["description"], f"{where}.description")
    parameters = function.get("parameters")
    if parameters is not None:
        if not isinstance(parameters, dict):
            raise invalid(f"{where}.parameters", "must be an object")
        if parameters:
            declared["parametersJsonSchema"] = clean_schema(parameters)
    return declared


def _read_choice(document: Mapping[str, Any]) -> _Choice:
    given, where = document.get("tool_choice"), "tool_choice"
    if given is None:
        given, where = document.get("function_call"), "function_call"
        if isinstance(given, dict):
            return _Choice("required", [text_of(given.get("name"), f"{where}.name")])
    if given is None:
        return _Choice()
    if isinstance(given, str) and given in ("auto", "none", "required", "any"):
        return _Choice("required" if given == "any" else given)
    if not isinstance(given, dict):
        raise invalid(where, "must be auto, none, required or an object")
    if given.get("type") == "allowed_tools":
        allowed = given.get("allowed_tools")
        allowed = allowed if isinstance(allowed, dict) else given
        names = [_name_in(tool, f"{where}.tools") for tool in _list(allowed.get("tools"), f"{where}.tools")]
        return _Choice("required" if allowed.get("mode") == "required" else "auto", names)
    return _Choice("required", [_name_in(given, where)])


def _name_in(tool: object, where: str) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else tool.get("name") if isinstance(tool, dict) else None
    return text_of(name, f"{where}.function.name")


def _names_one(choice: object) -> bool:
    return isinstance(choice, dict) and choice.get("type") != "allowed_tools"


def _function_names(document: Mapping[str, Any]) -> set[str]:
    tools = document.get("tools")
    found = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    old = document.get("functions")
    found += old if isinstance(old, list) else []
    names = [function.get("name") for function in found if isinstance(function, dict)]
    return {name for name in names if isinstance(name, str)}


def _read_form(
    document: Mapping[str, Any], model: str, tooling: Tooling, functions: list[Document], choice: _Choice
) -> None:
    """`response_format`: as it is, or as one more function that must be called where no other is."""
    given = document.get("response_format")
    kind = given.get("type") if isinstance(given, dict) else None
    if given is None or kind == "text":
        return
    if not isinstance(given, dict) or kind not in ("json_object", "json_schema"):
        raise invalid("response_format.type", "must be text, json_object or json_schema")
    schema = _schema_of(given) if kind == "json_schema" else None
    if tooling.answer_tool:
        declared: Document = {"name": tooling.answer_tool, "description": _ANSWER_PURPOSE}
        if schema:
            declared["parametersJsonSchema"] = schema
        functions.append(declared)
        if choice.names:
            choice.names.append(tooling.answer_tool)
        choice.mode = "required"
        return
    if functions and choice.mode != "none" and generation(model) < THIRD:
        tooling.lost.append("response_format")
        return
    tooling.response["responseMimeType"] = "application/json"
    if schema is not None:
        tooling.response["responseJsonSchema"] = schema


def _schema_of(given: Document) -> Document | None:
    form = given.get("json_schema")
    schema = form.get("schema") if isinstance(form, dict) else None
    if schema is None and isinstance(form, dict):
        return None
    if not isinstance(schema, dict):
        raise invalid("response_format.json_schema", "must be an object with a schema")
    return clean_schema(schema)


def _set_mode(tooling: Tooling, choice: _Choice, *, strict: bool) -> None:
    """https://ai.google.dev/gemini-api/docs/function-calling#function_calling_modes (read 2026-11)."""
    if choice.mode == "auto":
        if strict:
            tooling.tool_config["functionCallingConfig"] = {"mode": "VALIDATED"}
        return
    calling: Document = {"mode": "NONE" if choice.mode == "none" else "ANY"}
    if choice.names:
        calling["allowedFunctionNames"] = choice.names
    tooling.tool_config["functionCallingConfig"] = calling


def _list(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(where, "must be an array")
    return value
