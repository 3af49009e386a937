"""Signatures for AWS, against the value that Amazon's own documentation works out, and against changes."""

from __future__ import annotations

import datetime

import botocore.auth
import pytest
from botocore.auth import SigV4Auth

from gateway.errors import GatewayError
from gateway.upstream.credentials.sigv4 import SigV4Credentials
from tests.servers.bedrock import BedrockServer
from tests.servers.serving import Request

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PATH = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
ARN = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/converse"
HOST = "bedrock-runtime.us-east-1.amazonaws.com"


async def signed(path: str = PATH, body: bytes = b"{}", **changes: str) -> Request:
    token = changes.get("token")
    credentials = SigV4Credentials(KEY, changes.get("secret", SECRET), token, region=changes.get("region", "us-east-1"))
    lines = await credentials.headers("POST", path, HOST, body)
    headers = {"host": HOST, **{name.decode(): value.decode() for name, value in lines}}
    return Request("POST", path, headers, body)


async def test_the_signature_is_the_one_of_amazons_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """`get-vanilla` of https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html."""
    moment = datetime.datetime(2015, 8, 30, 12, 36, 0, tzinfo=datetime.UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    credentials = SigV4Credentials(KEY, SECRET, region="us-east-1", service="service")
    lines = dict(await credentials.headers("GET", "/", "example.amazonaws.com", b""))
    assert lines[b"x-amz-date"] == b"20150830T123600Z"
    assert lines[b"authorization"] == (
        b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        b"SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


@pytest.mark.parametrize("path", [PATH, ARN, "/foundation-models?byOutputModality=TEXT&byProvider=Amazon"])
async def test_a_signature_is_accepted_for_what_was_signed(path: str) -> None:
    assert BedrockServer().refused(await signed(path)) is None


async def test_temporary_keys_bring_their_token_and_it_is_signed() -> None:
    request = await signed(token="session-token-1")
    assert BedrockServer(session_token="session-token-1").refused(request) is None
    assert "x-amz-security-token" in request.headers["authorization"]
    assert BedrockServer(session_token="another").refused(request) is not None


@pytest.mark.parametrize("change", ["body", "path", "method", "host"])
async def test_a_signature_holds_for_nothing_else(change: str) -> None:
    request = await signed()
    other = {
        "body": Request("POST", PATH, request.headers, b'{"a":1}'),
        "path": Request("POST", PATH + "-stream", request.headers, b"{}"),
        "method": Request("PUT", PATH, request.headers, b"{}"),
        "host": Request("POST", PATH, {**request.headers, "host": "elsewhere"}, b"{}"),
    }[change]
    assert BedrockServer().refused(other) is not None


async def test_a_foreign_secret_or_region_is_refused() -> None:
    assert BedrockServer().refused(await signed(secret="other")) is not None
    assert BedrockServer().refused(await signed(region="eu-west-1")) is not None
    assert BedrockServer(region="eu-west-1").refused(await signed(region="eu-west-1")) is None


@pytest.mark.parametrize("missing", [("", SECRET, "us-east-1"), (KEY, "", "us-east-1"), (KEY, SECRET, "")])
def test_a_key_or_region_that_is_missing_is_named(missing: tuple[str, str, str]) -> None:
    with pytest.raises(GatewayError, match=r"a (access key|secret key|region) is needed") as raised:
        SigV4Credentials(missing[0], missing[1], region=missing[2])
    assert raised.value.code == "upstream_auth"


async def test_what_cannot_be_signed_is_an_error_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, request: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(SigV4Auth, "add_auth", fail)
    with pytest.raises(GatewayError) as raised:
        await signed()
    assert raised.value.code == "upstream_auth"
    assert SECRET not in raised.value.message
    assert HOST in raised.value.message
