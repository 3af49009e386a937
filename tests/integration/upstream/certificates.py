"""Certificates of an authority of our own, in files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """Issues server contexts and client certificates; `ca_file` is what a client must trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server(self, *names: str, expired: bool = False, asks_for_certificate: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for these host names or addresses."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        since = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
        certificate = self._ca.issue_cert(*names, not_after=until, not_before=since)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"])
        certificate.configure_cert(context)
        if asks_for_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def server_files(self, *names: str) -> tuple[str, str]:
        """Paths of a server's certificate and key, for nginx."""
        certificate = self._ca.issue_cert(*names)
        chain, key = self._folder / "server.pem", self._folder / "server.key"
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(chain), append=index > 0)
        certificate.private_key_pem.write_to_path(str(key))
        return str(chain), str(key)

    def client(self) -> str:
        """The path of a PEM file with a client's certificate and key."""
        path = self._folder / "client.pem"
        self._ca.issue_cert("gateway@example.org").private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)
