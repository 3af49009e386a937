"""Calls that a client demands. Ollama has no `tool_choice`; it can hold an answer to a JSON schema, and that is used.

The tools that may be called become a schema and a note for the model; what it answers is read as the call. With one
tool the answer is its arguments, so a stream passes on piece by piece; with several it is `{"name", "arguments"}`,
which is read once it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_dialect_request import tools_for_functions, write_json

_ONE = "Answer with a JSON object: the arguments for a call of this function."
_SEVERAL = (
    'Answer with a JSON object {"name": …, "arguments": {…}}: a call of the one of these functions that fits best.'
)


@dataclass(slots=True)
class Forced:
    """The functions of which one must be called, each with its name; `required` or named by the client."""

    functions: list[Document]

    @property
    def name(self) -> str | None:
        """The name of the call, where there is only one that it can be."""
        return self.functions[0]["name"] if len(self.functions) == 1 else None


def usable_tools(document: Document) -> tuple[list[Document], bool]:
    """The tools to offer, none for `tool_choice: none`, and whether one of them was to be strict.

    Raises invalid_field for a tool that is no function.
    """
    choice = document.get("tool_choice")
    if choice == "none":
        return [], False
    allowed = _allowed(choice)
    offered = []
    strict = False
    for function in _functions(document):
        if allowed is not None and function["name"] not in allowed:
            continue
        if "strict" in function:
            strict = strict or function["strict"] is True
            function = {name: value for name, value in function.items() if name != "strict"}
        offered.append({"type": "function", "function": function})
    return offered, strict


def find_forced(ask: Ask) -> Forced | None:
    """The functions of which `tool_choice` demands one, None where it leaves the model free or was dropped.

    Raises invalid_field for a choice that names no tool of the request.
    """
    document = tools_for_functions(ask.document)
    choice = document.get("tool_choice")
    if type(choice) is dict:
        return _named(choice, document)
    if choice in ("required", "any"):
        functions = _functions(document)
        return Forced(functions) if functions else None
    return None


def _named(choice: Document, document: Document) -> Forced | None:
    functions = _functions(document)
    allowed = _allowed(choice)
    if allowed is not None:
        holder = choice.get("allowed_tools")
        mode = (holder if type(holder) is dict else choice).get("mode")
        if mode != "required":
            return None
    else:
        function = choice.get("function") or choice.get("custom")
        name = function.get("name") if type(function) is dict else choice.get("name")
        allowed = {name} if type(name) is str else set()
    chosen = [function for function in functions if function["name"] in allowed]
    if not chosen:
        raise invalid("tool_choice", "names a function that is not among the tools")
    return Forced(chosen)


def _allowed(choice: object) -> set[str] | None:
    """The names that a choice of type `allowed_tools` holds; None for any other."""
    if type(choice) is not dict or choice.get("type") != "allowed_tools":
        return None
    holder = choice.get("allowed_tools")
    tools = (holder if type(holder) is dict else choice).get("tools")
    names = set()
    for tool in tools if type(tools) is list else ():
        if type(tool) is dict:
            function = tool.get("function")
            name = function.get("name") if type(function) is dict else tool.get("name")
            if type(name) is str:
                names.add(name)
    return names


def _functions(document: Document) -> list[Document]:
    """The functions of all tools; a custom tool, which takes text, is a function of one string."""
    tools = document.get("tools")
    if tools is None:
        return []
    if type(tools) is not list:
        raise invalid("tools", "must be an array")
    functions = []
    for index, tool in enumerate(tools):
        function = tool.get("function") if type(tool) is dict else None
        custom = tool.get("custom") if type(tool) is dict else None
        if type(custom) is dict and type(function) is not dict:
            function = {
                "name": custom.get("name"),
                "description": custom.get("description") or "",
                "parameters": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
            }
        if type(function) is not dict or type(function.get("name")) is not str:
            raise invalid(f"tools[{index}]", "must be a function with a name")
        functions.append(function)
    return functions


def force(body: Document, forced: Forced) -> None:
    """Adds to `body`, a chat request, what makes the model answer with a call."""
    functions = forced.functions
    body["format"] = _schema(functions[0]) if len(functions) == 1 else _schema_of_several(functions)
    note = _ONE if len(functions) == 1 else _SEVERAL
    described = [
        {name: function[name] for name in ("name", "description", "parameters") if name in function}
        for function in functions
    ]
    messages: list[Document] = body["messages"]
    place = next((index for index, message in enumerate(messages) if message["role"] != "system"), len(messages))
    text = "\n".join([note, *(write_json(function, "tools").decode() for function in described)])
    messages.insert(place, {"role": "system", "content": text})


def _schema(function: Document) -> Document:
    parameters = function.get("parameters")
    return parameters if type(parameters) is dict and parameters else {"type": "object"}


def _schema_of_several(functions: list[Document]) -> Document:
    """Any one of the calls. Definitions move to the top, where references look for them."""
    definitions: dict[str, Any] = {}
    options = []
    for function in functions:
        schema = dict(_schema(function))
        for name in ("$defs", "definitions"):
            found = schema.pop(name, None)
            if type(found) is dict:
                definitions.setdefault(name, {}).update(found)
        options.append(
            {
                "type": "object",
                "properties": {"name": {"enum": [function["name"]]}, "arguments": schema},
                "required": ["name", "arguments"],
            }
        )
    return {"anyOf": options, **definitions}


def read_forced(forced: Forced, text: str) -> tuple[str, str] | None:
    """The name and the arguments, as JSON text, of the call that an answer is; None where it is none."""
    if forced.name is not None:
        return forced.name, text
    try:
        call = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(call) is not dict or call.get("name") not in [function["name"] for function in forced.functions]:
        return None
    try:
        return call["name"], orjson.dumps(call.get("arguments") or {}).decode()
    except orjson.JSONEncodeError:
        return None
