"""AWS Bedrock's runtime, and its list of models: Converse, ConverseStream, InvokeModel for embeddings.

Signatures are made again by botocore from what came and must be the same; a bearer key is taken too. The answers
are those of the API reference (https://docs.aws.amazon.com/bedrock/latest/APIReference, read 2026-11).
"""

from __future__ import annotations

import binascii
import datetime
import hmac
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from tests.servers.serving import Answer, Request, Server, json_answer

EVENT_STREAM = "application/vnd.amazon.eventstream"
USAGE = {"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_SKEW = datetime.timedelta(minutes=15)


def event(kind: str, payload: object, *, exception: bool = False) -> bytes:
    """One message of an AWS event stream: https://smithy.io/2.0/aws/amazon-eventstream.html."""
    message_type = "exception" if exception else "event"
    headers = {
        ":exception-type" if exception else ":event-type": kind,
        ":content-type": "application/json",
        ":message-type": message_type,
    }
    return frame(headers, orjson.dumps(payload))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Headers of type string and a payload, framed and with both checksums."""
    written = b"".join(
        struct.pack(f"!B{len(name)}sBH", len(name), name.encode(), 7, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(written) + len(payload), len(written))
    data = prelude + struct.pack("!I", binascii.crc32(prelude)) + written + payload
    return data + struct.pack("!I", binascii.crc32(data))


def converse(*blocks: Mapping[str, Any], stop: str = "end_turn", usage: Mapping[str, int] = USAGE) -> dict[str, Any]:
    """A whole answer of Converse."""
    return {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": stop,
        "usage": dict(usage),
        "metrics": {"latencyMs": 100},
    }


def converse_stream(
    *blocks: Mapping[str, Any], stop: str = "end_turn", usage: Mapping[str, int] = USAGE
) -> list[bytes]:
    """The same as ConverseStream's messages: texts and arguments come in two pieces."""
    pieces = [event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            call = block["toolUse"]
            start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
            pieces.append(event("contentBlockStart", {**place, "start": start}))
        for delta in _deltas(block):
            pieces.append(event("contentBlockDelta", {**place, "delta": delta}))
        pieces.append(event("contentBlockStop", place))
    pieces.append(event("messageStop", {"stopReason": stop}))
    pieces.append(event("metadata", {"usage": dict(usage), "metrics": {"latencyMs": 100}}))
    return pieces


def _deltas(block: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if "text" in block:
        return [{"text": half} for half in _halves(block["text"])]
    if "toolUse" in block:
        return [{"toolUse": {"input": half}} for half in _halves(orjson.dumps(block["toolUse"]["input"]).decode())]
    reasoning = block["reasoningContent"]
    if "redactedContent" in reasoning:
        return [{"reasoningContent": reasoning}]
    said = reasoning["reasoningText"]
    signed = [{"reasoningContent": {"signature": said["signature"]}}] if "signature" in said else []
    return [*({"reasoningContent": {"text": half}} for half in _halves(said["text"])), *signed]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


class BedrockServer(Server):
    """Models that it knows by name: `throttled`, `too-long`, `denied` and `broken-off` fail as they are called."""

    def __init__(
        self,
        *,
        access_key_id: str = "AKIDEXAMPLE",
        secret_access_key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: str | None = None,
        region: str = "us-east-1",
        bearer: str | None = None,
    ) -> None:
        super().__init__()
        keys = ReadOnlyCredentials(access_key_id, secret_access_key, session_token)
        self._keys = keys
        self._region = region
        self._bearer = bearer
        self._signer = SigV4Auth(keys, "bedrock", region)

    def refused(self, request: Request) -> Answer | None:
        """403 for a missing, foreign, wrong or old signature."""
        given = request.headers.get("authorization", "")
        if self._bearer is not None and hmac.compare_digest(given, f"Bearer {self._bearer}"):
            return None
        found = _AUTHORIZATION.fullmatch(given)
        if found is None:
            return _denied("Missing Authentication Token")
        key, _, region, service, signed, signature = found.groups()
        if (key, region, service) != (self._keys.access_key, self._region, "bedrock"):
            return _denied("The security token included in the request is invalid.")
        names = signed.split(";")
        if "host" not in names or "x-amz-date" not in names:
            return _denied("'Host' and 'X-Amz-Date' must be signed.")
        if self._keys.token is not None and request.headers.get("x-amz-security-token") != self._keys.token:
            return _denied("The security token included in the request is invalid.")
        if not hmac.compare_digest(signature, self._sign(request, names)):
            return _denied("The request signature we calculated does not match the signature you provided.")
        signed_at = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        if abs(datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - signed_at) > _SKEW:
            return _denied("Signature expired.")
        return None

    def _sign(self, request: Request, names: list[str]) -> str:
        again = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{request.path}",
            data=request.body,
            headers={name: request.headers.get(name, "") for name in names},
        )
        again.context["timestamp"] = request.headers["x-amz-date"]
        canonical = self._signer.canonical_request(again)
        return str(self._signer.signature(self._signer.string_to_sign(again, canonical), again))

    def answered(self, request: Request) -> Answer:
        """By the path, as the real service finds it: the model's id is one percent-encoded segment."""
        if request.path == "/foundation-models":
            return json_answer({"modelSummaries": [{"modelId": "amazon.nova-micro-v1:0", "modelName": "Nova Micro"}]})
        found = re.fullmatch(r"/model/([^/:]+)/(converse|converse-stream|invoke)", request.path)
        if found is None or request.method != "POST":
            return json_answer({"message": "UnknownOperationException"}, 404)
        model, operation = unquote(found[1]), found[2]
        failed = _FAILURES.get(model)
        if failed is not None:
            return failed
        if operation == "invoke":
            return _embedded(model, request.json)
        blocks, stop = _reply(request.json)
        if operation == "converse":
            return json_answer(converse(*blocks, stop=stop))
        pieces = converse_stream(*blocks, stop=stop)
        if model == "broken-off":
            thrown = event("modelStreamErrorException", {"message": "The model stopped."}, exception=True)
            pieces = [*pieces[:2], thrown]
        return Answer(200, pieces, EVENT_STREAM)


def _denied(message: str) -> Answer:
    return json_answer({"message": message}, 403, x_amzn_errortype="AccessDeniedException")


_FAILURES = {
    "throttled": json_answer(
        {"message": "Too many requests, please wait before trying again."}, 429, x_amzn_errortype="ThrottlingException"
    ),
    "too-long": json_answer(
        {"message": "Input is too long for requested model."}, 400, x_amzn_errortype="ValidationException"
    ),
    "denied": _denied("You don't have access to the model with the specified model ID."),
}


def _reply(document: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """A call of the first tool where there are some and none was called yet, else a text."""
    tools = document.get("toolConfig", {}).get("tools", [])
    last = document["messages"][-1]["content"]
    if tools and not any("toolResult" in block for block in last):
        forced = document["toolConfig"].get("toolChoice", {}).get("tool", {}).get("name")
        name = forced or tools[0]["toolSpec"]["name"]
        call = {"toolUseId": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "name": name, "input": {"city": "Paris"}}
        return [{"text": "I will look."}, {"toolUse": call}] if not forced else [{"toolUse": call}], "tool_use"
    return [{"text": "Hello from Bedrock."}], "end_turn"


def _embedded(model: str, document: dict[str, Any]) -> Answer:
    if model.startswith("amazon.titan-embed"):
        vector = [0.25, -0.5, 0.125]
        body = {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": 4}
        return json_answer(body, x_amzn_bedrock_input_token_count="4")
    if model.startswith("cohere.embed"):
        vectors = [[0.5, -0.25]] * len(document["texts"])
        body = {"id": "e1", "embeddings": {"float": vectors}, "response_type": "embeddings_by_type"}
        return json_answer(body, x_amzn_bedrock_input_token_count="8")
    return json_answer({"message": "The provided model identifier is invalid."}, 400)
