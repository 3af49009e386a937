"""Servers for the tests of this folder, on the loop that the gateway runs on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import trustme
import uvloop

from tests.integration.server.serving import Serving


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the servers' certificates."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side of TLS for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The client's side."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """A server with the usual limits."""
    async with Serving() as running:
        yield running


@pytest.fixture
async def secure(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> AsyncIterator[Serving]:
    """The same behind TLS."""
    async with Serving(tls=server_tls, client_tls=client_tls) as running:
        yield running


@pytest.fixture(params=["plain", "tls"])
async def either(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> AsyncIterator[Serving]:
    """First the one, then the other."""
    secured = request.param == "tls"
    async with Serving(tls=server_tls if secured else None, client_tls=client_tls if secured else None) as running:
        yield running
