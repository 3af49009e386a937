"""A canonical chat request as one for Anthropic's Messages API.

https://platform.claude.com/docs/en/api/messages (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway.errors import GatewayError
from gateway.wire.anthropic_messages import Conversation
from gateway.wire.anthropic_models import Traits, find_traits
from gateway.wire.anthropic_parts import FILES_BETA
from gateway.wire.anthropic_thinking import Thinking, settle_sampling, settle_thinking, without_budget
from gateway.wire.anthropic_tools import AnswerForm, answer_form, json_instruction, put_tools, read_choice
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking

PATH = "/messages"
# Anthropic's own fields, passed on by name; some want a beta header, which is the client's to send.
_PASSED_ON = frozenset(
    {"cache_control", "container", "context_management", "diagnostics", "inference_geo", "mcp_servers", "speed"}
)
_TAKEN = _PASSED_ON | frozenset(
    {
        "function_call",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "n",
        "output_config",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "service_tier",
        "stop",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user",
        "web_search_options",
    }
)
# https://platform.claude.com/docs/en/api/service-tiers (read 2026-11).
_SERVICE_TIERS = {
    "auto": "auto",
    "priority": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
}
_ADAPTIVE = {"type": "adaptive"}
# What a thinking block is worth that stands behind something else than it did before (another system prompt or tool):
# nothing, instead of an error. https://platform.claude.com/docs/en/build-with-claude/preserved-thinking (read 2026-11)
_BINDING = {"prefix_mismatch_behavior": "drop_block"}
_BINDING_BETA = "thinking-binding-controls-2026-08-01"
_TOO_DEEP = "The request nests too deeply, or holds text that is not valid Unicode."


def encode_chat(ask: Ask) -> Encoded:
    """The request. Raises unsupported_parameter and invalid_field, naming the field."""
    dropped = settle_lacking(ask.document, _TAKEN, ask.policy, _who(ask))
    traits = find_traits(ask.model)
    form = answer_form(ask, traits)
    thinking, talk, betas = _converse(ask, traits, form)
    body: Document = {"model": ask.model, "max_tokens": thinking.max_tokens, "messages": _shortened(talk.turns)}
    if instruction := json_instruction(traits, form):
        talk.system.append({"type": "text", "text": instruction})
    if talk.system:
        body["system"] = _plain(talk.system)
    dropped += thinking.dropped
    dropped += settle_sampling(ask, traits, thinking, body)
    dropped += put_tools(ask, traits, form, talk.called, body)
    dropped += _put_rest(ask, thinking, form, body)
    try:
        data = orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_field", _TOO_DEEP, param="messages") from None
    if b'"type":"file","file_id"' in data:
        betas.append(FILES_BETA)
    return Encoded(
        path=PATH,
        body=data,
        headers=((b"anthropic-beta", ",".join(betas).encode()),) if betas else (),
        dropped=list(dict.fromkeys(dropped)),
    )


def _converse(ask: Ask, traits: Traits, form: AnswerForm) -> tuple[Thinking, Conversation, list[str]]:
    """How the model is to think, the conversation with the thoughts that belong into it, and the betas this takes."""
    forces = traits.forced_tools and (form.tool is not None or read_choice(ask.document).kind in ("any", "tool"))
    cap = _limit(ask)
    thinking = settle_thinking(ask, traits, cap, forces_tool=forces)
    talk = Conversation(thinks=thinking.thinks)
    talk.read(ask.document.get("messages"))
    config = thinking.config or _ADAPTIVE
    if thinking.config is not None and config["type"] == "enabled" and talk.lacks_thinking():
        return without_budget(ask, traits, cap), talk, []
    if talk.thought and traits.binds and config["type"] == "adaptive":
        thinking.config = {**config, "block_binding": _BINDING}
        return thinking, talk, [_BINDING_BETA]
    return thinking, talk, []


def _who(ask: Ask) -> str:
    return f"the model '{ask.shown_model}'"


def _limit(ask: Ask) -> int | None:
    """The client's limit of tokens, or the account's; None where there is neither."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = ask.document.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value < 2**31:
            raise invalid(name, "must be a whole number of tokens")
        return value
    option = ask.options.get("max_tokens", "")
    return int(option) if option.isascii() and option.isdigit() and len(option) < 10 else None


def _plain(blocks: list[Document]) -> str | list[Document]:
    """One text as such, anything else as blocks."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _shortened(turns: list[Document]) -> list[Document]:
    return [{"role": turn["role"], "content": _plain(turn["content"])} for turn in turns]


def _put_rest(ask: Ask, thinking: Thinking, form: AnswerForm, body: Document) -> list[str]:
    """Everything that stands for itself; returns what was dropped."""
    document = ask.document
    dropped: list[str] = []
    if ask.stream:
        body["stream"] = True
    if thinking.config is not None:
        body["thinking"] = thinking.config
    given = document.get("output_config")
    config = dict(given) if isinstance(given, dict) else {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    if form.native is not None:
        config["format"] = form.native
    if config:
        body["output_config"] = config
    for name in document:
        if name in _PASSED_ON and document[name] is not None:
            body[name] = document[name]
    if document.get("stop") is not None:
        dropped += _put_stops(ask, document["stop"], body)
    if document.get("service_tier") is not None:
        tier = document["service_tier"]
        if isinstance(tier, str) and tier in _SERVICE_TIERS:
            body["service_tier"] = _SERVICE_TIERS[tier]
        else:
            dropped += settle_lacking({"service_tier": tier}, frozenset(), ask.policy, _who(ask))
    return dropped + _put_user(ask, body)


def _put_stops(ask: Ask, stop: object, body: Document) -> list[str]:
    """Stop sequences; the API takes none that is only white space."""
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise invalid("stop", "must be a string or an array of strings")
    usable = [one for one in stops if one.strip()]
    if usable:
        body["stop_sequences"] = usable
    if any(one and not one.strip() for one in stops):
        return settle_lacking({"stop": stop}, frozenset(), ask.policy, _who(ask))
    return []


def _put_user(ask: Ask, body: Document) -> list[str]:
    """Who asks: Anthropic's metadata holds a user_id and nothing else."""
    metadata = ask.document.get("metadata")
    known: Mapping[str, object] = metadata if isinstance(metadata, dict) else {}
    names = (ask.document.get("user"), known.get("user_id"), ask.document.get("safety_identifier"))
    user = next((name for name in names if isinstance(name, str) and name), None)
    if user is not None:
        body["metadata"] = {"user_id": user}
    if metadata is not None and not known.keys() <= {"user_id"}:
        return settle_lacking({"metadata": metadata}, frozenset(), ask.policy, _who(ask))
    return []
