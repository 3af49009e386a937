"""Every provider type, by name, and what is checked of one before it is used."""

from __future__ import annotations

from gateway.providers import (
    ai21,
    anthropic,
    azure,
    azure_v1,
    bedrock,
    cerebras,
    cohere,
    deepseek,
    demo,
    fireworks,
    gemini,
    groq,
    huggingface,
    litellm,
    llamacpp,
    lmstudio,
    mistral,
    nvidia_nim,
    ollama,
    openai,
    openrouter,
    palm,
    perplexity,
    sambanova,
    together,
    vertex,
    vllm,
    xai,
)
from gateway.providers.provider import Provider
from gateway.wire.lacking import CHAT_PARAMETERS, EMBEDDING_PARAMETERS, RERANK_PARAMETERS

PROVIDERS: dict[str, Provider] = {
    module.PROVIDER.name: module.PROVIDER
    for module in (
        openai,
        ollama,
        ai21,
        anthropic,
        azure,
        azure_v1,
        bedrock,
        cerebras,
        cohere,
        deepseek,
        fireworks,
        gemini,
        groq,
        huggingface,
        litellm,
        llamacpp,
        lmstudio,
        mistral,
        nvidia_nim,
        openrouter,
        palm,
        perplexity,
        sambanova,
        together,
        vertex,
        vllm,
        xai,
        demo,
    )
}

_CANONICAL = CHAT_PARAMETERS | EMBEDDING_PARAMETERS | RERANK_PARAMETERS


def check(provider: Provider) -> None:
    """Raises ValueError, naming it, for a field that is said to be lacking or named otherwise and that nobody sends.

    For the built-in types and for what configuration or the admin API makes of one alike.
    """
    for what, names in (("unsupported", provider.unsupported), ("rename", provider.renamed)):
        unknown = sorted(name for name in names if name not in _CANONICAL)
        if unknown:
            shown = ", ".join(f"'{name[:64]}'" for name in unknown[:8])
            raise ValueError(f"{what}: {shown}: no such field of a request")
    both = sorted(provider.unsupported.intersection(provider.renamed))
    if both:
        raise ValueError(f"rename: '{both[0]}' is unsupported too")
