"""What becomes of a parameter that a provider lacks: dropped where that cannot change what is meant, else refused."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import GatewayError
from gateway.wire.dialect import Document

# OpenAI's chat parameters (https://platform.openai.com/docs/api-reference/chat/create, read 2026-11) and the
# canonical form's own; configuration may name only these.
CHAT_PARAMETERS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
EMBEDDING_PARAMETERS = frozenset({"dimensions", "encoding_format", "input_type", "truncate", "user"})
RERANK_PARAMETERS = frozenset({"max_tokens_per_doc", "return_documents", "top_n"})

# Who asks, what is kept, what it may cost, how fast: nothing that changes which answer is a right one.
_HINTS = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "thinking",
        "user",
        "verbosity",
    }
)
# Values that ask for nothing.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "temperature": (1,),
    "top_p": (1,),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "stop": ([],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("auto", "none"),
    "function_call": ("auto", "none"),
    "encoding_format": ("float",),
    "return_documents": (False,),
}
_STRUCTURE = frozenset({"messages", "model", "stream", "input", "query", "documents"})


def settle_lacking(document: Document, taken: frozenset[str], policy: Mapping[str, str], who: str) -> list[str]:
    """The fields of `document` to leave out, `taken` being those that the provider understands.

    Left out unsaid are nulls and values that ask for nothing; the rest are named for the client to see. `policy`
    (field → `drop` or `refuse`) goes before the default. Raises unsupported_parameter for what is refused, also
    for fields that nobody knows: whether they matter cannot be told.
    """
    dropped: list[str] = []
    for name, value in document.items():
        if name in taken or name in _STRUCTURE or value is None:
            continue
        if value in _NEUTRAL.get(name, ()):
            continue
        if policy.get(name, "drop" if name in _HINTS else "refuse") == "refuse":
            raise GatewayError(
                "unsupported_parameter",
                f"The parameter '{name}' is not supported by {who}; leave it out, or have the gateway drop it "
                f"(`lacking: {{{name}: drop}}` on the model or provider).",
                param=name,
            )
        dropped.append(name)
    return dropped
