"""OpenAI, and with a `base_url` of your own any server that speaks its API."""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    auth=Bearer(env="OPENAI_API_KEY"),
)
