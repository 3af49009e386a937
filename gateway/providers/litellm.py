"""Whatever else litellm can call, by litellm itself: it is the slow way, for providers that have no type of their own.

The model is litellm's name for it with the provider in front, such as `sagemaker/jumpstart-dft-meta-textgeneration`
(https://docs.litellm.ai/docs/providers, read 2026-11). `metadata` is litellm's own log's and reaches no provider.
"""

from gateway.providers.billing import CLAUDE_IMAGES, GEMINI_IMAGES, GPT_IMAGES, Billing
from gateway.providers.provider import Extra, NoAuth, Provider

PROVIDER = Provider(
    name="litellm",
    base_url="",
    auth=NoAuth(),
    unsupported=frozenset({"metadata", "prompt_cache_retention", "store"}),
    library="litellm",
    extra=Extra("litellm", "litellm"),
    billing=Billing(
        image_tokens=CLAUDE_IMAGES + GEMINI_IMAGES + GPT_IMAGES,
        unbounded_models=("perplexity/", "search", "deep-research", "compound"),
    ),
)
