"""Google Gemini, by an AI Studio key."""

from gateway.providers.provider import HeaderKey, Provider

PROVIDER = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    auth=HeaderKey("x-goog-api-key", "GEMINI_API_KEY"),
    dialect="gemini",
    models_path="/models?pageSize=1000",
)
