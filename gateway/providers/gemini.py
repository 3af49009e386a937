"""Google Gemini, by an AI Studio key."""

from gateway.providers.billing import GEMINI_IMAGES, Billing
from gateway.providers.provider import HeaderKey, Provider

PROVIDER = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    auth=HeaderKey("x-goog-api-key", "GEMINI_API_KEY"),
    dialect="gemini",
    models_path="/models?pageSize=1000",
    billing=Billing(image_tokens=GEMINI_IMAGES, bills_after_cancel="yes"),
)
