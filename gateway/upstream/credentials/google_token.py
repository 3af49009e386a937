"""Google: tokens for Vertex AI, by google-auth, from a service account's key or what the environment offers.

https://google-auth.readthedocs.io and https://cloud.google.com/docs/authentication/application-default-credentials
(read 2026-11). google-auth blocks, so it works in a thread; with a service account its requests come back to the
loop and go over the gateway's own pool. The environment's credentials (a metadata server, a file that
GOOGLE_APPLICATION_CREDENTIALS names, gcloud's) are google-auth's own affair, and need its `requests` extra.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.credentials.credentials import HeaderLines
from gateway.upstream.credentials.fetch import Fetch
from gateway.upstream.credentials.tokens import Token, TokenKeeper

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT_S = 20.0
# What Google's tokens hold where their library does not say.
_USUAL_LIFETIME_S = 3600.0


class GoogleCredentials:
    """Tokens of a service account (`key`: its JSON), or of the environment where there is none.

    `project` is the key's own project, None until the environment has been asked.
    """

    def __init__(
        self,
        key: str | None,
        *,
        fetch: Fetch,
        tasks: Tasks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises upstream_auth where google-auth is not installed or the key is no service account's."""
        self._google = _load()
        self._fetch = fetch
        self._account: Any = None
        self.project: str | None = None
        if key is not None:
            self._account = self._service_account(key)
            self.project = self._account.project_id
        self._from_environment = key is None
        self._keeper = TokenKeeper(self._sign_in, tasks, name="Google", clock=clock)

    async def headers(self, method: str, url_path: str, host: str, body: bytes) -> HeaderLines:
        """`authorization` with a token that holds for this request; the request itself does not matter."""
        return await self._keeper.headers()

    def _service_account(self, key: str) -> Any:
        try:
            info = orjson.loads(key)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            info = None
        if not isinstance(info, dict) or info.get("type") != "service_account":
            raise GatewayError("upstream_auth", "The Google credentials are not a service account's key in JSON.")
        try:
            return self._google.service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])
        except Exception as error:  # of several libraries, and their messages quote the key
            reason = type(error).__name__
            raise GatewayError(
                "upstream_auth", f"The Google service account's key cannot be read ({reason})."
            ) from None

    async def _sign_in(self) -> Token:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.to_thread(self._refresh, loop)
        except self._google.errors as error:
            raise GatewayError("upstream_auth", f"Google gave no token ({_reason(error)}).") from None

    def _refresh(self, loop: asyncio.AbstractEventLoop) -> Token:
        """In a thread: everything here may block."""
        if self._from_environment:
            transport = self._google.transport()
            if self._account is None:
                self._account, self.project = self._google.default(scopes=[SCOPE], request=transport)
        else:
            transport = _Transport(self._fetch, loop, self._google.transport_error)
        self._account.refresh(transport)
        value, expiry = self._account.token, self._account.expiry
        return Token(value if isinstance(value, str) else "", _lifetime_s(expiry))


class _Library:
    """The parts of google-auth that are used."""

    def __init__(self) -> None:
        import google.auth
        from google.auth import exceptions
        from google.oauth2 import service_account

        self.service_account: Any = service_account
        self.default: Any = google.auth.default
        self.transport_error = exceptions.TransportError
        self.errors = (exceptions.GoogleAuthError, ImportError)

    def transport(self) -> Any:
        """google-auth's own transport. Raises ImportError where requests is not installed."""
        from google.auth.transport.requests import Request

        return Request()


def _load() -> _Library:
    try:
        return _Library()
    except ImportError:
        raise GatewayError(
            "upstream_auth", "To sign in to Google google-auth is needed: install kubechat-gateway[google]."
        ) from None


class _Answer:
    """What google-auth wants of an answer."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status = status
        self.data = data
        self.headers: Mapping[str, str] = {}


class _Transport:
    """google-auth's blocking requests, made by the loop on its behalf."""

    def __init__(self, fetch: Fetch, loop: asyncio.AbstractEventLoop, failure: type[Exception]) -> None:
        self._fetch = fetch
        self._loop = loop
        self._failure = failure

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> _Answer:
        """Raises the library's own TransportError."""
        request = self._fetch(method, url, list((headers or {}).items()), body or b"")
        pending = asyncio.run_coroutine_threadsafe(request, self._loop)
        try:
            return _Answer(*pending.result(timeout or _TIMEOUT_S))
        except GatewayError as error:
            raise self._failure(error.message) from None
        except TimeoutError:
            pending.cancel()
            raise self._failure("no answer in time") from None


def _lifetime_s(expiry: datetime.datetime | None) -> float:
    if expiry is None:
        return _USUAL_LIFETIME_S
    if expiry.tzinfo is None:  # google-auth's times are UTC, unsaid
        expiry = expiry.replace(tzinfo=datetime.UTC)
    return (expiry - datetime.datetime.now(datetime.UTC)).total_seconds()


def _reason(error: Exception) -> str:
    # The first argument is a sentence, the second the server's whole answer.
    said = str(error.args[0]) if error.args else ""
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
