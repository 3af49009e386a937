"""Which fields of a request are known not to cost more than the tokens that it may use; any other is unbounded."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.wire.dialect import Document
from gateway.wire.lacking import CHAT_PARAMETERS, EMBEDDING_PARAMETERS, RERANK_PARAMETERS

# Endpoints whose price is not one of tokens that are known beforehand, and what of a request makes it so. Storing
# (files, uploads) and looking things up costs nothing by the request.
UNBOUNDED_ENDPOINTS: Mapping[str, str] = {
    "audio": "/v1/audio",
    "batches": "/v1/batches",
    "fine_tuning": "/v1/fine_tuning",
    "images": "/v1/images",
}

# How to choose the next token: the samplers' settings that servers of open models have beside OpenAI's
# (https://docs.vllm.ai/en/stable/serving/openai_compatible_server/, https://openrouter.ai/docs/api/reference/parameters,
# read 2026-11).
_SAMPLING = frozenset(
    {
        "ignore_eos",
        "include_reasoning",
        "length_penalty",
        "min_p",
        "min_tokens",
        "random_seed",
        "reasoning_format",
        "repeat_penalty",
        "repetition_penalty",
        "skip_special_tokens",
        "stop_token_ids",
        "top_a",
        "top_k",
        "typical_p",
    }
)
# A prediction's rejected tokens are billed as output, beyond the cap on it, and searching has a price of its own.
# https://platform.openai.com/docs/guides/predicted-outputs (read 2026-11)
_CHAT = (
    CHAT_PARAMETERS - {"prediction", "web_search_options"}
    | _SAMPLING
    | {"cache_control", "messages", "model", "reasoning", "usage"}
)
_COMPLETIONS = frozenset(
    {
        "best_of",
        "echo",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "model",
        "n",
        "presence_penalty",
        "prompt",
        "seed",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "suffix",
        "temperature",
        "top_p",
        "user",
    }
)
_MESSAGES = frozenset(
    {
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
_RESPONSES = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
_BOUNDED: Mapping[str, frozenset[str]] = {
    "chat": _CHAT,
    "completions": _COMPLETIONS | _SAMPLING,
    "embeddings": EMBEDDING_PARAMETERS | {"input", "model"},
    "messages": _MESSAGES,
    "moderations": frozenset({"input", "model"}),
    "rerank": RERANK_PARAMETERS | {"documents", "model", "query", "rank_fields"},
    "responses": _RESPONSES,
}
# Tools that the client runs itself; every other kind is the provider's, who bills for running it. Anthropic's older
# form of the client's own has no type.
_CLIENT_TOOLS = ("function", "custom", None)


def unbounded_field(document: Document, endpoint: str) -> str:
    """The first field that may cost something that cannot be told beforehand; empty where there is none.

    `endpoint` is the short name of one (`Endpoint.name`); of an endpoint that is unbounded itself it is the path.
    """
    bounded = _BOUNDED.get(endpoint)
    if bounded is None:
        return UNBOUNDED_ENDPOINTS.get(endpoint, "")
    if not bounded.issuperset(document):
        for name, value in document.items():
            if name not in bounded and value is not None and value is not False:
                return name
    tools = document.get("tools")
    return _hosted_tool(tools) if tools else ""


def _hosted_tool(tools: object) -> str:
    if type(tools) is not list:
        return "tools"
    for index, tool in enumerate(tools):
        if type(tool) is not dict or tool.get("type") not in _CLIENT_TOOLS:
            return f"tools[{index}]"
    return ""
