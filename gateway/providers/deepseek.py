"""DeepSeek (https://api-docs.deepseek.com, read 2026-11)."""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    name="deepseek",
    base_url="https://api.deepseek.com/v1",
    auth=Bearer(env="DEEPSEEK_API_KEY"),
)
