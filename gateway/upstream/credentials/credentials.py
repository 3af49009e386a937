"""What an account's credentials promise to whoever sends its requests."""

from __future__ import annotations

from typing import Protocol

HeaderLines = list[tuple[bytes, bytes]]


class Credentials(Protocol):
    """Authentication of one account, for all its requests."""

    async def headers(self, method: str, url_path: str, host: str, body: bytes) -> HeaderLines:
        """The header lines that authenticate one request: names in lower case, values ready to be written.

        `url_path` is in origin form, percent-encoded, with its query; `host` is the `host` header's value. The
        lines hold for exactly this request, and for minutes only. Raises GatewayError `upstream_auth` naming what
        failed, never a secret.
        """
