"""Every provider type, by name."""

from __future__ import annotations

from gateway.providers import deepseek, demo, groq, ollama, openai, openrouter
from gateway.providers.provider import Provider

PROVIDERS: dict[str, Provider] = {
    module.PROVIDER.name: module.PROVIDER for module in (openai, ollama, groq, openrouter, deepseek, demo)
}
