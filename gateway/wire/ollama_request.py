"""A canonical chat request as Ollama's POST /api/chat (https://docs.ollama.com/api/chat, read 2026-11)."""

from __future__ import annotations

from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking
from gateway.wire.ollama_forcing import find_forced, force, usable_tools
from gateway.wire.ollama_messages import write_messages
from gateway.wire.openai_dialect_request import messages_of, tools_for_functions, write_json

WHO = "Ollama"
# https://docs.ollama.com/modelfile#valid-parameters-and-values and api/types.go of Ollama (read 2026-11).
OPTIONS = frozenset(
    {
        "main_gpu",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_keep",
        "num_predict",
        "num_thread",
        "repeat_last_n",
        "repeat_penalty",
        "typical_p",
        "use_mmap",
    }
)
# Those of its options that clients of OpenAI's API know by the same name.
_SAME = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
# `n` is left to whoever asks several times; usage comes with every stream.
_TAKEN = (
    OPTIONS
    | {*_SAME, "max_tokens", "max_completion_tokens", "stop", "logprobs", "top_logprobs", "n", "stream_options"}
    | {"tools", "tool_choice", "functions", "function_call", "response_format", "reasoning_effort", "thinking"}
    | {"options", "keep_alive", "think", "format", "truncate", "shift"}
)
_THINK: dict[object, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "max",
}


def encode_chat(ask: Ask) -> Encoded:
    """The request. Raises unsupported_parameter or invalid_field naming the field."""
    document = tools_for_functions(ask.document)
    forced = find_forced(ask)
    taken = _TAKEN - {"tool_choice"} if "tool_choice" in ask.policy and forced is not None else _TAKEN
    dropped = settle_lacking(document, taken, ask.policy, WHO)
    if document.get("parallel_tool_calls") is True and "parallel_tool_calls" in dropped:
        dropped.remove("parallel_tool_calls")  # that is what it does
    messages = write_messages(messages_of(document))
    body: Document = {"model": ask.model, "messages": messages, "stream": ask.stream}
    for name in ("keep_alive", "truncate", "shift", "logprobs", "top_logprobs"):
        if document.get(name) is not None:
            body[name] = document[name]
    options = options_of(document)
    if options:
        body["options"] = options
    think = _think(document)
    if think is not None:
        body["think"] = think
    layout = _format(document)
    if layout is not None:
        body["format"] = layout
    tools, strict = usable_tools(document)
    if strict:
        dropped.append("tools.function.strict")
    if forced is not None and "tool_choice" not in ask.policy:
        force(body, forced)
    elif tools:
        body["tools"] = tools
    return Encoded("/api/chat", write_json(body, "messages"), dropped=dropped)


def options_of(document: Document) -> Document:
    """Ollama's `options`: those given under that name, those given by their own, and OpenAI's."""
    given = document.get("options")
    options = dict(given) if type(given) is dict else {}
    for name in OPTIONS.intersection(document):
        if document[name] is not None:
            options[name] = document[name]
    for name in _SAME:
        if document.get(name) is not None:
            options[name] = document[name]
    limit = document.get("max_completion_tokens")
    limit = document.get("max_tokens") if limit is None else limit
    if limit is not None:
        options["num_predict"] = limit
    stop = document.get("stop")
    if stop:
        options["stop"] = [stop] if type(stop) is str else stop
    return options


def _think(document: Document) -> object:
    """What `think` is to be; None leaves it to the model. A budget in tokens is only a wish to think here."""
    if document.get("think") is not None:
        return document["think"]
    effort = document.get("reasoning_effort")
    if type(effort) is str:
        return _THINK.get(effort, effort)
    thinking = document.get("thinking")
    if type(thinking) is dict:
        return {"enabled": True, "disabled": False}.get(str(thinking.get("type")))
    return None


def _format(document: Document) -> object:
    """The schema that the answer is to follow, "json" for any object, None for plain text."""
    wanted = document.get("response_format")
    if type(wanted) is not dict:
        return document.get("format")
    if wanted.get("type") == "json_object":
        return "json"
    described = wanted.get("json_schema")
    if wanted.get("type") != "json_schema":
        return None
    schema = described.get("schema") if type(described) is dict else None
    return schema if type(schema) is dict else "json"
