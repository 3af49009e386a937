"""Google's tokens: the assertion that is signed, the environment's credentials, and refusals without the key."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import parse_qs

import google.auth
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions, jwt

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.credentials.google_token import SCOPE, GoogleCredentials

TOKEN_URL = "https://oauth2.googleapis.com/token"


class Fetched:
    """The token endpoint: what it was sent, and its answer."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = orjson.dumps(body)
        self.failure: GatewayError | None = None
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    async def __call__(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        self.requests.append((method, url, dict(headers), body))
        if self.failure is not None:
            raise self.failure
        return self.status, self.body


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def key(private_key: rsa.RSAPrivateKey) -> str:
    written = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return orjson.dumps(
        {
            "type": "service_account",
            "project_id": "project-1",
            "private_key_id": "key-1",
            "private_key": written.decode(),
            "client_email": "gateway@project-1.iam.gserviceaccount.com",
            "token_uri": TOKEN_URL,
        }
    ).decode()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(1.0)


async def asked(credentials: GoogleCredentials) -> list[tuple[bytes, bytes]]:
    return await credentials.headers("POST", "/v1/projects/p/locations/l", "aiplatform.googleapis.com", b"{}")


async def test_a_service_account_signs_an_assertion_and_its_token_is_used(
    key: str, private_key: rsa.RSAPrivateKey, tasks: Tasks
) -> None:
    fetch = Fetched(200, {"access_token": "ya29.one", "expires_in": 3599, "token_type": "Bearer"})
    credentials = GoogleCredentials(key, fetch=fetch, tasks=tasks)
    assert credentials.project == "project-1"
    assert await asked(credentials) == [(b"authorization", b"Bearer ya29.one")]
    assert await asked(credentials) == [(b"authorization", b"Bearer ya29.one")]
    ((method, url, headers, body),) = fetch.requests
    assert (method, url) == ("POST", TOKEN_URL)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = parse_qs(body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    public = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = jwt.decode(form["assertion"][0], certs=public, audience=TOKEN_URL)
    assert (claims["iss"], claims["scope"]) == ("gateway@project-1.iam.gserviceaccount.com", SCOPE)


async def test_a_refusal_says_why_but_not_with_what(key: str, tasks: Tasks) -> None:
    fetch = Fetched(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    with pytest.raises(GatewayError, match=r"Google gave no token \(RefreshError: .*invalid_grant") as raised:
        await asked(GoogleCredentials(key, fetch=fetch, tasks=tasks))
    assert raised.value.code == "upstream_auth"
    assert "PRIVATE KEY" not in raised.value.message


async def test_a_server_that_cannot_be_reached_is_a_refusal_too(key: str, tasks: Tasks) -> None:
    fetch = Fetched(200, {})
    fetch.failure = GatewayError("upstream_connect_timeout", "Upstream oauth2.googleapis.com:443: no connection.")
    with pytest.raises(GatewayError, match=r"TransportError: .*oauth2\.googleapis\.com") as raised:
        await asked(GoogleCredentials(key, fetch=fetch, tasks=tasks))
    assert raised.value.code == "upstream_auth"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "not json",
        "[]",
        '{"type": "authorized_user"}',
        '{"type": "service_account"}',
        '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": "SECRET-PEM"}',
        '{"type": "service_account", "client_email": 1, "token_uri": [], "private_key": {}}',
        "\ud800",
    ],
)
def test_a_key_that_is_none_is_refused_without_being_quoted(bad: str) -> None:
    with pytest.raises(GatewayError) as raised:
        GoogleCredentials(bad, fetch=Fetched(200, {}), tasks=Tasks())
    assert raised.value.code == "upstream_auth"
    assert "SECRET-PEM" not in raised.value.message


async def test_without_a_key_the_environments_credentials_are_used(
    monkeypatch: pytest.MonkeyPatch, tasks: Tasks
) -> None:
    class FromEnvironment:
        token: str | None = None
        expiry: datetime.datetime | None = None
        refreshed = 0

        def refresh(self, request: object) -> None:
            self.refreshed += 1
            self.token = f"ya29.env{self.refreshed}"
            self.expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)

    found = FromEnvironment()

    def default(scopes: list[str], request: object) -> tuple[Any, str]:
        assert scopes == [SCOPE]
        return found, "project-of-env"

    monkeypatch.setattr(google.auth, "default", default)
    credentials = GoogleCredentials(None, fetch=Fetched(200, {}), tasks=tasks)
    assert credentials.project is None
    assert await asked(credentials) == [(b"authorization", b"Bearer ya29.env1")]
    assert await asked(credentials) == [(b"authorization", b"Bearer ya29.env1")]
    assert credentials.project == "project-of-env"


async def test_an_environment_without_credentials_is_a_refusal(monkeypatch: pytest.MonkeyPatch, tasks: Tasks) -> None:
    def default(scopes: list[str], request: object) -> tuple[Any, str]:
        raise exceptions.DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(GatewayError, match="default credentials were not found") as raised:
        await asked(GoogleCredentials(None, fetch=Fetched(200, {}), tasks=tasks))
    assert raised.value.code == "upstream_auth"
