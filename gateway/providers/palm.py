"""Google PaLM, for endpoints that still serve it: Google itself has switched it off."""

from gateway.providers.provider import HeaderKey, Provider

PROVIDER = Provider(
    name="palm",
    base_url="https://generativelanguage.googleapis.com/v1beta2",
    auth=HeaderKey("x-goog-api-key", "PALM_API_KEY"),
    dialect="palm",
)
