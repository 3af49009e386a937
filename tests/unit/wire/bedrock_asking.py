"""Requests for Bedrock in tests; what is encoded is held against the service's own model, as botocore ships it."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from gateway.wire.bedrock import DIALECT
from gateway.wire.dialect import Ask, Encoded

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OLD_CLAUDE = "anthropic.claude-3-7-sonnet-20250219-v1:0"
NEW_CLAUDE = "global.anthropic.claude-opus-4-8"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f"

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(model: str = CLAUDE, *, stream: bool = False, operation: str = "chat", **fields: Any) -> Ask:
    """A request for `model`; what is not given is a greeting."""
    document = {"model": "shown", **({"messages": HELLO} if operation == "chat" else {}), **fields}
    return Ask(operation, document, model, "shown", "chatcmpl-0123456789", 1_700_000_000, stream=stream)


def encoded(asked: Ask) -> Encoded:
    """What is sent; the request must be left as it was, and be one that the service's model allows."""
    before = orjson.dumps(asked.document)
    found = DIALECT.encode(asked)
    assert orjson.dumps(asked.document) == before
    if asked.operation == "chat":
        report = ParamValidator().validate({"modelId": asked.model, **orjson.loads(found.body)}, _input_shape())
        assert not report.has_errors(), report.generate_report()
    return found


def sent(model: str = CLAUDE, **fields: Any) -> Any:
    """The body for a request with these fields."""
    return orjson.loads(encoded(ask(model, **fields)).body)


@cache
def _input_shape() -> Any:
    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    return model.operation_model("Converse").input_shape
