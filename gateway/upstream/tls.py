"""TLS contexts: who is trusted, what certificate the client shows. Host names are always checked."""

from __future__ import annotations

import asyncio
import os
import ssl

import certifi

_Files = tuple[str | None, str | None, str | None]


class TlsContexts:
    """One context per set of files, made on first use and again when a file has changed on disk."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[_Files, tuple[list[int], ssl.SSLContext]] = {}

    async def get(self, ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
        """The context for these PEM files. Raises OSError (ssl.SSLError among them) when one cannot be loaded."""
        files = (ca_file, cert_file, key_file)
        written = [os.stat(path).st_mtime_ns for path in files if path]
        made = self._made.get(files)
        if made is None or made[0] != written:
            # Parsing the public authorities takes some 20 ms: not on the loop.
            made = (written, await asyncio.to_thread(_context, ca_file, cert_file, key_file))
            self._made[files] = made
        return made[1]


def _context(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    # OpenSSL's own variables, then certifi: images without system certificates are common.
    system = "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
    context = ssl.create_default_context(cafile=ca_file or (None if system else certifi.where()))
    context.set_alpn_protocols(["http/1.1"])
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context
