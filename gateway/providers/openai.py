"""OpenAI, and with a `base_url` of your own any server that speaks its API: fields that it lacks are its own to judge.

https://platform.openai.com/docs/api-reference (read 2026-11).
"""

from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="openai",
    base_url="https://api.openai.com/v1",
    auth=Bearer(env="OPENAI_API_KEY"),
    responses=True,
)
