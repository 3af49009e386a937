"""Ollama's own API on its usual port (https://docs.ollama.com/api, read 2026-11).

A local server asks for no key. Ollama's cloud does: `base_url: https://ollama.com` with `api_key:
env:OLLAMA_API_KEY`.
"""

from gateway.providers.billing import Billing
from gateway.providers.provider import NoAuth, Provider

PROVIDER = Provider(
    name="ollama",
    base_url="http://127.0.0.1:11434",
    auth=NoAuth(),
    dialect="ollama",
    probe_path="/api/version",
    models_path="/api/tags",
    paths={"completions": "/v1/completions"},
    billing=Billing(bills_after_cancel="no"),
)
