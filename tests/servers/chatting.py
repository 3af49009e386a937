"""What a model would say, for servers of OpenAI's format: whole, and as the pieces of a stream."""

from __future__ import annotations

from typing import Any

import orjson

from tests.servers.examples import example_of


def said_to(body: dict[str, Any], text: str, call_id: str) -> dict[str, Any]:
    """The message that answers the chat request `body`: calls where it brings tools, an example of the schema that
    it asks for, what a tool has said, how many pictures there are, or else `text`. A call's id is `call_id` and its
    place."""
    last = body["messages"][-1]
    wanted = body.get("response_format") or {}
    if body.get("tools") and last["role"] == "user" and body.get("tool_choice") != "none":
        return {"role": "assistant", "content": "", "tool_calls": _calls(body["tools"], call_id)}
    if wanted.get("type") == "json_schema":
        text = orjson.dumps(example_of(wanted["json_schema"]["schema"])).decode()
    elif wanted.get("type") == "json_object":
        text = '{"ok":true}'
    elif last["role"] == "tool":
        text = f"The tool said: {last['content']}"
    elif isinstance(last["content"], list):
        text = f"I see {sum(part['type'] == 'image_url' for part in last['content'])} picture(s)."
    return {"role": "assistant", "content": text}


def _calls(tools: list[dict[str, Any]], call_id: str) -> list[dict[str, Any]]:
    """A call of each of the first two tools."""
    calls = []
    for index, tool in enumerate(tools[:2]):
        arguments = example_of(tool["function"].get("parameters") or {"type": "object"})
        function = {"name": tool["function"]["name"], "arguments": orjson.dumps(arguments).decode()}
        calls.append({"id": f"{call_id}{index}", "index": index, "type": "function", "function": function})
    return calls


def deltas_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The deltas that a message comes in."""
    text = said["content"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + 7]} for at in range(0, len(text), 7)]
    for call in said.get("tool_calls", []):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        for at in range(0, len(arguments), 6):
            deltas.append({"tool_calls": [{"index": call["index"], "function": {"arguments": arguments[at : at + 6]}}]})
    return deltas
