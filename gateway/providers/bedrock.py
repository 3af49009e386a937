"""AWS Bedrock (https://docs.aws.amazon.com/bedrock/latest/APIReference, read 2026-11).

Requests are signed with AWS keys, or carry a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK). Models are listed by
another host than the one that runs them, hence the whole URL.
"""

from gateway.providers.provider import Provider, Signed

PROVIDER = Provider(
    name="bedrock",
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    auth=Signed("aws", env="AWS_BEARER_TOKEN_BEDROCK"),
    dialect="bedrock",
    options={"region": "us-east-1"},
    models_path="https://bedrock.{region}.amazonaws.com/foundation-models",
)
