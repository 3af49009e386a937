"""Tools, the choice among them, and the form of the answer (`response_format`), which some models owe to a tool.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from gateway.errors import GatewayError
from gateway.wire.bedrock_content import blank
from gateway.wire.bedrock_messages import add_cache_point
from gateway.wire.bedrock_models import Family
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

# Converse demands tools wherever a conversation tells of calls, and has no word for `none`: this one stands in
# where the client gave no tools or wants none called. A call of it is never shown.
NO_TOOL = "no_tool_available"
ANSWER_TOOL = "json_answer"
_EMPTY_SCHEMA: Document = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Form:
    """How a wish for JSON is met: by the model's own `native` text format, by a `tool` whose arguments become the
    answer, or by `words` in the system prompt.
    """

    native: Document | None = None
    tool: Document | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A tool choice: `mode` is auto, none, any or tool; `names` are the tools that may be called, empty for all."""

    mode: str
    names: tuple[str, ...] = ()


def read_choice(document: Document) -> Choice:
    """The choice in any form that OpenAI's API has. Raises invalid_field."""
    field = "tool_choice" if document.get("tool_choice") is not None else "function_call"
    given = document.get(field)
    if given is None or given in ("auto", "none"):
        return Choice("none" if given == "none" else "auto")
    if given in ("required", "any"):
        return Choice("any")
    if not isinstance(given, dict):
        raise invalid(field, "must be auto, none, required or name a tool")
    if given.get("type") == "allowed_tools":
        return _allowed(given.get("allowed_tools", given), field)
    function = given if field == "function_call" else given.get("function", given)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise invalid(field, "must be auto, none, required or name a tool")
    return Choice("tool", (name,))


def _allowed(given: object, field: str) -> Choice:
    listed = given.get("tools") if isinstance(given, dict) else None
    names = []
    for tool in listed if isinstance(listed, list) else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise invalid(field, "must name the tools it allows")
        names.append(name)
    if not names or not isinstance(given, dict):
        raise invalid(field, "must name the tools it allows")
    return Choice("any" if given.get("mode") == "required" else "auto", tuple(names))


def read_form(document: Document, family: Family) -> Form | None:
    """How `response_format` is to be met; None where plain text is wanted. Raises invalid_field."""
    given = document.get("response_format")
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        if family.forces_tools:
            return Form(tool=_answer_tool(document, {"type": "object"}, "The answer, as a JSON object."))
        return Form(words="Answer with one JSON object and nothing else.")
    wanted = given.get("json_schema") if kind == "json_schema" and isinstance(given, dict) else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or not isinstance(schema, dict):
        raise invalid("response_format", "must be text, json_object, or json_schema with a schema")
    description = wanted.get("description")
    description = description if isinstance(description, str) and not blank(description) else ""
    # Grammars are made only of schemas that close every object, which `strict` promises.
    if family.structured and (wanted.get("strict") is True or not family.forces_tools):
        return Form(native=_text_format(wanted.get("name"), schema, description))
    if family.forces_tools:
        return Form(tool=_answer_tool(document, schema, description or "The answer."))
    return Form(words=f"Answer with one JSON object and nothing else. It must match this JSON schema: {_text(schema)}")


def _text_format(name: object, schema: Document, description: str) -> Document:
    definition: Document = {"schema": _text(schema)}
    if isinstance(name, str) and name:
        definition["name"] = name
    if description:
        definition["description"] = description
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _text(schema: Document) -> str:
    try:
        return orjson.dumps(schema).decode()
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_json", "The JSON schema nests too deeply or is not valid text.") from None


def _answer_tool(document: Document, schema: Document, description: str) -> Document:
    taken = {function.get("name") for _, function, _ in functions_of(document)}
    name = ANSWER_TOOL
    while name in taken:
        name += "_"
    return {"toolSpec": {"name": name[:64], "description": description, "inputSchema": {"json": schema}}}


def answer_tool_name(document: Document, family: Family) -> str | None:
    """The tool whose arguments are the answer's content, where the request has one. Raises invalid_field."""
    if document.get("response_format") is None or read_choice(document).mode in ("any", "tool"):
        return None
    form = read_form(document, family)
    return None if form is None or form.tool is None else str(form.tool["toolSpec"]["name"])


def functions_of(document: Document) -> list[tuple[str, Document, Document]]:
    """Every tool's place in the request, its function, and the tool itself. Raises invalid_field."""
    found: list[tuple[str, Document, Document]] = []
    for field in ("tools", "functions"):
        listed = document.get(field)
        if listed is None:
            continue
        if not isinstance(listed, list):
            raise invalid(field, "must be an array")
        for index, tool in enumerate(listed):
            where = f"{field}[{index}]"
            if not isinstance(tool, dict):
                raise invalid(where, "must be an object")
            if field == "tools" and tool.get("type", "function") != "function":
                raise GatewayError(
                    "unsupported_parameter", f"Bedrock takes function tools only; '{where}' is none.", param=where
                )
            function = tool.get("function") if field == "tools" else tool
            name = function.get("name") if isinstance(function, dict) else None
            if not isinstance(function, dict) or not isinstance(name, str) or not name:
                raise invalid(f"{where}.function.name", "must be a non-empty string")
            found.append((where, function, tool))
    return found


def encode_tools(document: Document, family: Family, form: Form | None, *, told: bool) -> tuple[Document | None, bool]:
    """`toolConfig`, and whether it makes the model call a tool. `told`: the conversation tells of calls already.

    Raises invalid_field and unsupported_parameter.
    """
    choice = read_choice(document)
    tools: list[Document] = []
    if choice.mode != "none":
        for where, function, tool in functions_of(document):
            if not choice.names or choice.mode == "tool" or function["name"] in choice.names:
                tools.append(_spec(function, where, family))
                control = tool.get("cache_control") or function.get("cache_control")
                if family.caches_tools and isinstance(control, dict):
                    add_cache_point(tools, control, family)
    asked = choice.mode
    if form is not None and form.tool is not None and asked not in ("any", "tool"):
        asked = "any" if tools else "tool"
        choice = Choice(asked, (form.tool["toolSpec"]["name"],))
        tools.append(form.tool)
    if not tools:
        return (_no_tools() if told else None), False
    config: Document = {"tools": tools}
    if asked == "any":
        config["toolChoice"] = {"any": {}}
    elif asked == "tool":
        config["toolChoice"] = {"tool": {"name": choice.names[0]}}
    return config, asked in ("any", "tool")


def _spec(function: Document, where: str, family: Family) -> Document:
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(f"{where}.function.parameters", "must be an object")
    spec: Document = {"name": function["name"], "inputSchema": {"json": schema or _EMPTY_SCHEMA}}
    description = function.get("description")
    if isinstance(description, str) and not blank(description):
        spec["description"] = description
    if function.get("strict") is True and family.structured:
        spec["strict"] = True
    return {"toolSpec": spec}


def _no_tools() -> Document:
    spec = {"name": NO_TOOL, "description": "Not to be called.", "inputSchema": {"json": _EMPTY_SCHEMA}}
    return {"tools": [{"toolSpec": spec}]}
