"""Signing in to Entra: what is sent, what comes back, and what may be said of a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.credentials.entra import EntraCredentials

SECRET = "very-secret~value+1"


class Fetched:
    """A token server's answers, and the requests for them."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else orjson.dumps(body)
        self.requests: list[tuple[str, str, Sequence[tuple[str, str]], bytes]] = []
        self.failure: GatewayError | None = None

    async def __call__(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        self.requests.append((method, url, headers, body))
        if self.failure is not None:
            raise self.failure
        return self.status, self.body


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(1.0)


def credentials_over(fetch: Fetched, tasks: Tasks, **options: str) -> EntraCredentials:
    return EntraCredentials("tenant/1", "client-1", SECRET, fetch=fetch, tasks=tasks, **options)


async def asked(credentials: EntraCredentials) -> list[tuple[bytes, bytes]]:
    return await credentials.headers("POST", "/openai/v1/chat/completions", "name.openai.azure.com", b"{}")


async def test_the_client_credentials_are_sent_as_a_form_and_the_token_is_used(tasks: Tasks) -> None:
    fetch = Fetched(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ0"})
    assert await asked(credentials_over(fetch, tasks)) == [(b"authorization", b"Bearer eyJ0")]
    ((method, url, headers, body),) = fetch.requests
    assert (method, url) == ("POST", "https://login.microsoftonline.com/tenant%2F1/oauth2/v2.0/token")
    assert dict(headers)["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client-1"],
        "client_secret": [SECRET],
        "scope": ["https://cognitiveservices.azure.com/.default"],
    }


async def test_another_cloud_has_its_own_authority_and_scope(tasks: Tasks) -> None:
    fetch = Fetched(200, {"expires_in": "3599", "access_token": "t"})
    scope = "https://cognitiveservices.azure.us/.default"
    await asked(credentials_over(fetch, tasks, authority="https://login.microsoftonline.us/", scope=scope))
    ((_, url, _, body),) = fetch.requests
    assert url == "https://login.microsoftonline.us/tenant%2F1/oauth2/v2.0/token"
    assert parse_qs(body.decode())["scope"] == [scope]


async def test_a_refusal_is_told_by_its_number_and_not_by_its_text(tasks: Tasks) -> None:
    text = f"AADSTS7000215: Invalid client secret {SECRET} for app 'client-1'. Trace ID: 1"
    fetch = Fetched(401, {"error": "invalid_client", "error_description": text})
    with pytest.raises(GatewayError) as raised:
        await asked(credentials_over(fetch, tasks))
    assert raised.value.code == "upstream_auth"
    assert raised.value.message == "Entra refused the client credentials (401, invalid_client, AADSTS7000215)."


async def test_a_server_that_cannot_be_reached_is_named(tasks: Tasks) -> None:
    fetch = Fetched(200, {})
    fetch.failure = GatewayError("upstream_connect_failed", "Upstream login.microsoftonline.com:443: cannot connect.")
    with pytest.raises(GatewayError, match=r"Entra could not be asked.*login\.microsoftonline\.com") as raised:
        await asked(credentials_over(fetch, tasks))
    assert raised.value.code == "upstream_auth"


def _writable(value: object) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 204, 302, 400, 500]),
    body=st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from(["access_token", "expires_in", "error", "error_description"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.none(), max_size=2)),
        )
        .filter(_writable)
        .map(orjson.dumps),
    ),
)
async def test_no_answer_raises_anything_but_a_refusal(status: int, body: bytes) -> None:
    tasks = Tasks()
    refusal: GatewayError | None = None
    found: list[tuple[bytes, bytes]] = []
    try:
        found = await asked(credentials_over(Fetched(status, body), tasks))
    except GatewayError as error:
        refusal = error
    await tasks.drain(1.0)
    if refusal is None:
        assert found[0][1].startswith(b"Bearer ")
    else:
        assert refusal.code == "upstream_auth"
        assert SECRET not in refusal.message


@pytest.mark.parametrize("given_", [("", "c", "s"), ("t", "", "s"), ("t", "c", "")])
def test_what_is_missing_is_named(given_: tuple[str, str, str]) -> None:
    with pytest.raises(
        GatewayError, match=r"To sign in to Entra a (tenant|client id|client secret) is needed"
    ) as raised:
        EntraCredentials(*given_, fetch=Fetched(200, {}), tasks=Tasks())
    assert raised.value.code == "upstream_auth"
