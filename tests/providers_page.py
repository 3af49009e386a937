"""The tables of docs/providers.md: what each provider type is, what it lacks, and what tests have shown of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.providers.provider import Provider, Signed
from gateway.providers.registry import PROVIDERS
from gateway.wire.dialect import Ask, Dialect
from gateway.wire.dialects import find_dialect
from gateway.wire.openai import Variations
from gateway.wire.openai_dialect import OpenAIDialect

FEATURES = (
    "chat",
    "streaming",
    "tools",
    "parallel tools",
    "tool choice",
    "structured output",
    "images",
    "files",
    "audio",
    "reasoning",
    "citations",
    "logprobs",
    "n",
    "embeddings",
    "rerank",
    "prompt caching",
    "errors",
    "usage",
    "models",
)
TABLES = ("types", "lacking", "shown")
# A value of each parameter that asks for something.
_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
ASKED: Mapping[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 100,
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "a"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "a",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}},
    "safety_identifier": "a",
    "seed": 1,
    "service_tier": "default",
    "stop": ["a"],
    "store": True,
    "temperature": 0.5,
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "tool_choice": "required",
    "tools": _TOOLS,
    "top_k": 3,
    "top_logprobs": 2,
    "top_p": 0.5,
    "user": "a",
    "verbosity": "low",
    "web_search_options": {},
}
# `functions` become tools in every dialect, `stream` and its options are dispatch's.
NOT_ASKED = frozenset({"function_call", "functions", "stream", "stream_options"})
_BESIDE: Mapping[str, Mapping[str, Any]] = {
    "audio": {"modalities": ["text", "audio"]},
    "modalities": {"audio": ASKED["audio"]},
    "parallel_tool_calls": {"tools": _TOOLS},
    "thinking": {"max_tokens": 8000},
    "tool_choice": {"tools": _TOOLS},
    "top_logprobs": {"logprobs": True},
}
# The model that is asked of where the model decides what there is.
ASKED_OF = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "vertex": "gemini-2.5-flash",
}


def with_tables(text: str, shown: Collection[tuple[str, str]]) -> str:
    """`text` with its tables made anew. Raises ValueError where it lacks their markers."""
    for name, table in zip(TABLES, (types_table(), lacking_table(), shown_table(shown)), strict=True):
        text = _between(text, marker(name), f"<!-- end of {name} -->", table)
    return text


def marker(table: str) -> str:
    """What stands above one of TABLES."""
    return f"<!-- {table}: written by a test run with --write-providers, do not edit -->"


def shown_table(shown: Collection[tuple[str, str]]) -> str:
    """Provider by feature."""
    rows = [f"| | {' | '.join(FEATURES)} |", f"|---|{':-:|' * len(FEATURES)}"]
    for name in _in_order():
        cells = ("✓" if (name, feature) in shown else "" for feature in FEATURES)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def types_table() -> str:
    """Where each type is, whose format it speaks, and which variable has its key."""
    rows = ["| type | base URL | format | key |", "|---|---|---|---|"]
    for name in _in_order():
        known = PROVIDERS[name]
        where = f"`{known.base_url}`" if known.base_url else "litellm's" if known.library else "**to be given**"
        rows.append(f"| `{name}` | {where} | {known.dialect} | {_key_of(known)} |")
    return "\n".join(rows)


def lacking_table() -> str:
    """Which parameters of a chat each type has dropped and refused, where nothing else is configured."""
    rows = ["| | left out, and named in the header | refused with 400 |", "|---|---|---|"]
    for name in _in_order():
        dropped, refused = lacking(PROVIDERS[name])
        rows.append(f"| {name} | {', '.join(dropped)} | {', '.join(refused)} |")
    return "\n".join(rows)


def lacking(known: Provider) -> tuple[list[str], list[str]]:
    """The parameters that are dropped and those that are refused. (`n` is made by several requests where need be.)"""
    dropped, refused = [], sorted({"function_call", "functions", "n"}.intersection(known.unsupported))
    for name in sorted(ASKED.keys() - {"n"}):
        try:
            if name in _dialect_of(known).encode(_ask(known, name)).dropped:
                dropped.append(name)
        except GatewayError as error:
            if error.code != "unsupported_parameter":
                raise
            refused.append(name)
    return dropped, sorted(refused)


def _dialect_of(known: Provider) -> Dialect:
    if known.dialect != "openai":
        return find_dialect(known.dialect)
    return OpenAIDialect(variations=Variations(known.unsupported, known.renamed, known.stream_usage))


def _ask(known: Provider, name: str) -> Ask:
    document = {"model": "a", "messages": [{"role": "user", "content": "Hello"}], name: ASKED[name]}
    document |= _BESIDE.get(name, {})
    options = {**known.options, "project": "a"}
    return Ask("chat", document, ASKED_OF.get(known.name, "a"), "a", "chatcmpl-a", 0, options=options)


def _in_order() -> list[str]:
    return sorted(name for name, known in PROVIDERS.items() if not known.base_url.startswith("demo:"))


def _key_of(known: Provider) -> str:
    signed = {"aws": "AWS keys", "google": "a Google service account", "entra": "an Entra client"}
    ways = [f"`{known.auth.env}`"] if known.auth.env else []
    if isinstance(known.auth, Signed):
        ways.append(signed[known.auth.scheme])
    return " or ".join(ways) or "none"


def _between(text: str, begin: str, end: str, table: str) -> str:
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page lacks the marker {begin if not found else end}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"
