"""`server.tls`: HTTPS on every port of the gateway, and clients that have to show a certificate."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.acceptance.gateway_process import MASTER_KEY, free_port, gateway

CONFIG = """
providers: {{demo: {{type: demo}}}}
models: [{{name: demo, targets: [{{provider: demo, model: demo}}]}}]
server: {{tls: {{cert_file: server.pem, key_file: server.key{client_ca}}}}}
admin: {{listen: "127.0.0.1:{admin_port}"}}
"""


@dataclass
class Addresses:
    """Of one gateway: host and port of `/v1`, and of `/admin`."""

    public: str
    admin: str

    def pages(self) -> tuple[str, ...]:
        """One of the hot lane's port, and those of the other."""
        return f"{self.public}/v1/models", f"{self.admin}/admin/keys", f"{self.admin}/metrics"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the server's certificate, and those of its clients."""
    return trustme.CA()


def addresses(folder: Path, authority: trustme.CA, *, asks_for_certificates: bool) -> Iterator[Addresses]:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    authority.cert_pem.write_to_path(str(folder / "clients.pem"))
    config, port = folder / "gateway.yaml", free_port()
    client_ca = ", client_ca_file: clients.pem" if asks_for_certificates else ""
    config.write_text(CONFIG.format(client_ca=client_ca, admin_port=port))
    with gateway(folder / "home", config) as running:
        assert f"https://127.0.0.1:{running.port}" in running.output
        yield Addresses(f"127.0.0.1:{running.port}", f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Addresses]:
    """A gateway that serves HTTPS to whoever comes."""
    yield from addresses(tmp_path_factory.mktemp("open"), authority, asks_for_certificates=False)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Addresses]:
    """A gateway with `client_ca_file`."""
    yield from addresses(tmp_path_factory.mktemp("asking"), authority, asks_for_certificates=True)


def client(authority: trustme.CA, signed_by: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if signed_by is not None:
        signed_by.issue_cert("client.example.org").configure_cert(context)
    return context


def status(url: str, context: ssl.SSLContext | None) -> int:
    """The answer's; 0 where there is no answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {MASTER_KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):
        return 0


def test_every_port_speaks_tls(open_to_all: Addresses, authority: trustme.CA) -> None:
    for page in open_to_all.pages():
        assert status(f"https://{page}", client(authority)) == 200, page


def test_no_port_answers_in_plain_text(open_to_all: Addresses) -> None:
    for page in open_to_all.pages():
        assert status(f"http://{page}", None) == 0, page


def test_clients_that_show_a_certificate_of_the_named_authority_are_served(
    asking: Addresses, authority: trustme.CA
) -> None:
    for page in asking.pages():
        assert status(f"https://{page}", client(authority, signed_by=authority)) == 200, page


@pytest.mark.parametrize("signed_by", [None, trustme.CA()], ids=["no certificate", "another's certificate"])
def test_other_clients_are_not(asking: Addresses, authority: trustme.CA, signed_by: trustme.CA | None) -> None:
    for page in asking.pages():
        assert status(f"https://{page}", client(authority, signed_by)) == 0, page
