"""Ollama's OpenAI-compatible API on its usual port (https://docs.ollama.com/openai, read 2026-11)."""

from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="ollama",
    base_url="http://127.0.0.1:11434/v1",
    auth=NoAuth(),
    probe_path="/api/version",
)
