"""AWS Bedrock (https://docs.aws.amazon.com/bedrock/latest/APIReference, read 2026-11).

Requests are signed with AWS keys, or carry a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK). Models are listed by
another host than the one that runs them, hence the whole URL. botocore signs, and reads the frames of streams.
"""

from gateway.providers.billing import CLAUDE_IMAGES, Billing
from gateway.providers.provider import Extra, Provider, Signed

PROVIDER = Provider(
    name="bedrock",
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    auth=Signed("aws", env="AWS_BEARER_TOKEN_BEDROCK", secrets=("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")),
    dialect="bedrock",
    options={"region": "us-east-1"},
    models_path="https://bedrock.{region}.amazonaws.com/foundation-models",
    extra=Extra("bedrock", "botocore"),
    # Nova puts some 900 tokens before the tools in recorded calls.
    billing=Billing(image_tokens=CLAUDE_IMAGES, tools_overhead_tokens=1536, bills_after_cancel="yes"),
)
