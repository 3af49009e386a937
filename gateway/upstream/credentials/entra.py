"""Microsoft Entra ID: tokens for Azure OpenAI by client credentials.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (read 2026-11).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.credentials.credentials import HeaderLines
from gateway.upstream.credentials.fetch import Fetch
from gateway.upstream.credentials.tokens import Token, TokenKeeper
from gateway.wire.openai_error import parse_object

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://cognitiveservices.azure.com/.default"
_FORM = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
# Entra's own number for what is wrong; the text around it names tenants and applications.
_NUMBER = re.compile(r"AADSTS\d{4,9}")
_WORD = re.compile(r"[a-z_]{1,64}")


class EntraCredentials:
    """A service principal's tokens. `authority` is where it signs in and `scope` what for: other clouds have others."""

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        client_secret: str,
        *,
        fetch: Fetch,
        tasks: Tasks,
        authority: str = AUTHORITY,
        scope: str = SCOPE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises upstream_auth where one of the three is empty."""
        for what, value in (("tenant", tenant_id), ("client id", client_id), ("client secret", client_secret)):
            if not value:
                raise GatewayError("upstream_auth", f"To sign in to Entra a {what} is needed.")
        self._url = f"{authority.rstrip('/')}/{quote(tenant_id, safe='')}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": scope,
        }
        self._form = urlencode(form).encode()
        self._fetch = fetch
        self._keeper = TokenKeeper(self._sign_in, tasks, name="Entra", clock=clock)

    async def headers(self, method: str, url_path: str, host: str, body: bytes) -> HeaderLines:
        """`authorization` with a token that holds for this request; the request itself does not matter."""
        return await self._keeper.headers()

    async def _sign_in(self) -> Token:
        try:
            status, answer = await self._fetch("POST", self._url, _FORM, self._form)
        except GatewayError as error:
            raise GatewayError("upstream_auth", f"Entra could not be asked for a token: {error.message}") from None
        document = parse_object(answer) or {}
        if status != 200:
            raise GatewayError("upstream_auth", f"Entra refused the client credentials ({_reason(status, document)}).")
        value, lifetime_s = document.get("access_token"), _seconds(document.get("expires_in"))
        if not isinstance(value, str) or not value or lifetime_s is None:
            raise GatewayError("upstream_auth", "Entra's answer has no token.")
        return Token(value, lifetime_s)


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)  # some clouds write it as text
    return float(value) if type(value) is int and 0 < value < 1 << 32 else None


def _reason(status: int, document: dict[str, object]) -> str:
    error, text = document.get("error"), document.get("error_description")
    word = error if isinstance(error, str) and _WORD.fullmatch(error) else ""
    number = _NUMBER.search(text[:1000]) if isinstance(text, str) else None
    return ", ".join(filter(None, (str(status), word, number[0] if number else "")))
