"""Credentials over real HTTP: token servers that count, AWS's signature checked by a server that makes it anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule
from gateway.upstream.credentials.entra import EntraCredentials
from gateway.upstream.credentials.fetch import PoolFetch
from gateway.upstream.credentials.google_token import GoogleCredentials
from gateway.upstream.credentials.sigv4 import SigV4Credentials
from gateway.upstream.pool import Pool
from gateway.wire.bedrock import DIALECT
from gateway.wire.dialect import Ask
from tests.servers.azure import AzureServer
from tests.servers.bedrock import BedrockServer
from tests.servers.serving import Answer, Request, Server, json_answer


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(1.0)


@pytest.fixture
async def azure() -> AsyncIterator[AzureServer]:
    server = AzureServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def bedrock() -> AsyncIterator[BedrockServer]:
    server = BedrockServer(session_token="session-1")
    await server.start()
    yield server
    await server.stop()


def entra(server: AzureServer, pool: Pool, tasks: Tasks, secret: str = "client-secret-1") -> EntraCredentials:
    fetch = PoolFetch(pool, proxy=None)
    return EntraCredentials("tenant-1", "client-1", secret, fetch=fetch, tasks=tasks, authority=server.base_url)


async def lines(credentials: EntraCredentials | GoogleCredentials) -> dict[bytes, bytes]:
    return dict(await credentials.headers("POST", "/", "host", b""))


async def test_azure_takes_the_token_that_entra_gave(pool: Pool, tasks: Tasks, azure: AzureServer) -> None:
    fetch = PoolFetch(pool, proxy=None)
    credentials = entra(azure, pool, tasks)
    url = f"{azure.base_url}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    body = orjson.dumps({"messages": [{"role": "user", "content": "hi"}]})
    given = [(name.decode(), value.decode()) for name, value in (await lines(credentials)).items()]
    status, answer = await fetch("POST", url, given, body)
    assert (status, orjson.loads(answer)["choices"][0]["message"]["content"]) == (200, "Hello from Azure.")
    assert (await fetch("POST", url, [], body))[0] == 401


async def test_fifty_requests_at_once_sign_in_once(pool: Pool, tasks: Tasks, azure: AzureServer) -> None:
    credentials = entra(azure, pool, tasks)
    found = await asyncio.gather(*(lines(credentials) for _ in range(50)))
    assert {line[b"authorization"] for line in found} == {b"Bearer entra-token-1"}
    assert len(azure.requests) == 1


async def test_a_token_is_renewed_while_the_old_one_serves(pool: Pool, tasks: Tasks, azure: AzureServer) -> None:
    now = [0.0]
    fetch = PoolFetch(pool, proxy=None)
    credentials = EntraCredentials(
        "tenant-1",
        "client-1",
        "client-secret-1",
        fetch=fetch,
        tasks=tasks,
        authority=azure.base_url,
        clock=lambda: now[0],
    )
    assert (await lines(credentials))[b"authorization"] == b"Bearer entra-token-1"
    azure.answer_next(json_answer({"error": "temporarily_unavailable"}, 503))
    now[0] = 3400.0  # old, but it holds: the renewal goes on behind the request, and fails
    assert (await lines(credentials))[b"authorization"] == b"Bearer entra-token-1"
    await tasks.drain(10.0)
    assert len(azure.requests) == 2
    assert (await lines(credentials))[b"authorization"] == b"Bearer entra-token-1"
    now[0] = 3420.0
    assert (await lines(credentials))[b"authorization"] == b"Bearer entra-token-1"
    await tasks.drain(10.0)
    assert (await lines(credentials))[b"authorization"] == b"Bearer entra-token-2"


async def test_a_wrong_client_secret_is_a_refusal_that_names_entra(
    pool: Pool, tasks: Tasks, azure: AzureServer
) -> None:
    with pytest.raises(
        GatewayError, match=r"Entra refused the client credentials \(401, invalid_client, AADSTS7000215"
    ):
        await lines(entra(azure, pool, tasks, "wrong-secret"))


async def test_an_authority_that_is_down_is_a_refusal_that_names_it(pool: Pool, tasks: Tasks) -> None:
    server = AzureServer()
    await server.start()
    await server.stop()
    with pytest.raises(GatewayError, match=r"Entra could not be asked for a token: Upstream 127\.0\.0\.1") as raised:
        await lines(entra(server, pool, tasks))
    assert raised.value.code == "upstream_auth"


async def test_a_token_server_inside_is_not_asked_where_the_address_rule_forbids_it(
    pool: Pool, tasks: Tasks, azure: AzureServer
) -> None:
    fetch = PoolFetch(pool, proxy=None, rule=AddressRule())
    with pytest.raises(GatewayError):
        await fetch("GET", f"{azure.base_url}/openai/models", [], b"")
    assert azure.requests == []


class GoogleServer(Server):
    """Google's token endpoint."""

    def refused(self, request: Request) -> Answer | None:
        return None

    def answered(self, request: Request) -> Answer:
        return json_answer({"access_token": f"ya29.{len(self.requests)}", "expires_in": 3599, "token_type": "Bearer"})


async def test_a_google_service_account_signs_in_over_the_gateways_own_pool(pool: Pool, tasks: Tasks) -> None:
    server = GoogleServer()
    url = await server.start()
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = orjson.dumps(
        {
            "type": "service_account",
            "private_key": private.private_bytes(encoding, form, serialization.NoEncryption()).decode(),
            "client_email": "gateway@project-1.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
    ).decode()
    try:
        credentials = GoogleCredentials(key, fetch=PoolFetch(pool, proxy=None), tasks=tasks)
        found = await asyncio.gather(*(lines(credentials) for _ in range(10)))
    finally:
        await server.stop()
    assert {line[b"authorization"] for line in found} == {b"Bearer ya29.1"}
    assert [request.path for request in server.requests] == ["/token"]


def bedrock_ask(model: str, *, stream: bool = False) -> Ask:
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return Ask("chat", document, model, "m", "chatcmpl-1", 1, stream=stream)


@pytest.mark.shows("bedrock", "chat")
@pytest.mark.parametrize(
    "model",
    [
        "us.amazon.nova-micro-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-micro-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f",
    ],
)
async def test_bedrock_takes_a_signed_request_for_any_kind_of_id(
    pool: Pool, bedrock: BedrockServer, model: str
) -> None:
    ask = bedrock_ask(model)
    encoded = DIALECT.encode(ask)
    host = bedrock.base_url.removeprefix("http://")
    keys = SigV4Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-1", region="us-east-1")
    headers = [
        (name.decode(), value.decode()) for name, value in await keys.headers("POST", encoded.path, host, encoded.body)
    ]
    fetch = PoolFetch(pool, proxy=None)
    status, body = await fetch("POST", bedrock.base_url + encoded.path, headers, encoded.body)
    assert status == 200
    answer, _ = DIALECT.decode(ask, body)
    assert answer["choices"][0]["message"]["content"] == "Hello from Bedrock."
    status, body = await fetch("POST", bedrock.base_url + encoded.path, headers, encoded.body + b" ")
    assert DIALECT.read_error("bedrock", status, body).code == "upstream_auth"


@pytest.mark.shows("bedrock", "models")
async def test_bedrocks_models_are_listed_with_a_bearer_key(pool: Pool) -> None:
    server = BedrockServer(bearer="bedrock-api-key-1")
    await server.start()
    try:
        fetch = PoolFetch(pool, proxy=None)
        headers = [("authorization", "Bearer bedrock-api-key-1")]
        status, body = await fetch("GET", f"{server.base_url}/foundation-models", headers, b"")
    finally:
        await server.stop()
    assert (status, DIALECT.read_models(body)) == (200, ["amazon.nova-micro-v1:0"])
