"""OpenAI, and with a `base_url` of your own any server that speaks its API: fields that it lacks are its own to judge.

https://platform.openai.com/docs/api-reference (read 2026-11).
"""

from gateway.providers.billing import GPT_ENCODINGS, GPT_IMAGES, GPT_IMAGES_MOST, Billing
from gateway.providers.provider import Bearer, Provider

PROVIDER = Provider(
    keeps_foreign=False,
    name="openai",
    base_url="https://api.openai.com/v1",
    auth=Bearer(env="OPENAI_API_KEY"),
    responses=True,
    # A stream that is cut is billed up to there. Some of its models search, whatever is asked.
    billing=Billing(
        image_tokens=GPT_IMAGES,
        tokens_per_image=GPT_IMAGES_MOST,
        image_urls=True,
        unbounded_models=("search", "deep-research", "computer-use"),
        bills_after_cancel="no",
        unseen_thought_models=("o1", "o3", "o4", "gpt-5", "gpt-6"),
        completion_cap_models=("o1", "o3", "o4", "gpt-5", "gpt-6"),
        encodings=GPT_ENCODINGS,
        encoding_hosts=("api.openai.com",),
    ),
)
