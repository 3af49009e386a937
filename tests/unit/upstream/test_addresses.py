"""Which addresses may be connected to, in every way of writing them; and that nothing is looked up twice."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.upstream.addresses import AddressRule, embedded, forbidden
from gateway.upstream.connection import Limits, Origin
from gateway.upstream.pool import Pool

LIMITS = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=5)
INSIDE = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "169.254.1.1": "link-local",
    "169.254.169.254": "cloud metadata",
    "169.254.170.2": "cloud metadata",
    "168.63.129.16": "cloud metadata",
    "100.100.100.200": "cloud metadata",
    "192.0.0.192": "cloud metadata",
    "100.64.0.1": "shared by a carrier (CGNAT)",
    "100.127.255.255": "shared by a carrier (CGNAT)",
    "0.0.0.0": "this host (0.0.0.0/8)",
    "0.1.2.3": "this host (0.0.0.0/8)",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "192.0.0.1": "reserved",
    "192.0.2.1": "reserved",
    "192.88.99.1": "reserved",
    "198.18.0.1": "reserved",
    "198.19.255.255": "reserved",
    "198.51.100.1": "reserved",
    "203.0.113.1": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
}
OUTSIDE: tuple[str, ...] = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
)
OUTSIDE += ("128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0")
OUTSIDE += ("198.17.255.255", "198.20.0.0", "223.255.255.255")


def teredo(server: str, client: str) -> str:
    """RFC 4380, section 4: prefix, server, flags, port, and the client with all its bits turned over."""
    outer = 0x20010000 << 96 | int(ipaddress.IPv4Address(server)) << 64
    return str(ipaddress.IPv6Address(outer | int(ipaddress.IPv4Address(client)) ^ 0xFFFFFFFF))


def six_to_four(inner: str) -> str:
    return str(ipaddress.IPv6Address(0x2002 << 112 | int(ipaddress.IPv4Address(inner)) << 80 | 1))


@pytest.mark.parametrize(("address", "reason"), INSIDE.items())
def test_an_inside_ipv4_address_is_forbidden_in_every_form(address: str, reason: str) -> None:
    assert forbidden(address) == reason
    assert forbidden(f"::ffff:{address}") == reason
    assert forbidden(f"64:ff9b::{address}") == reason
    assert forbidden(six_to_four(address)) == reason
    assert forbidden(teredo("1.1.1.1", address)) == reason
    assert forbidden(teredo(address, "1.1.1.1")) == reason
    assert forbidden(f"::{address}") is not None
    assert forbidden(f"64:ff9b:1::{address}") is not None


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_outside_ipv4_address_is_allowed_in_the_forms_that_lead_to_it(address: str) -> None:
    assert forbidden(address) is None
    assert forbidden(f"::ffff:{address}") is None
    assert forbidden(f"64:ff9b::{address}") is None
    assert forbidden(six_to_four(address)) is None
    assert forbidden(f"64:ff9b:1::{address}") == "local NAT64"
    assert forbidden(f"::{address}") == "reserved"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("::1", "loopback"),
        ("::", "this host (::)"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf:ffff::1", "link-local"),
        ("fec0::1", "site-local"),
        ("fc00::1", "unique-local"),
        ("fd12:3456::1", "unique-local"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("2001:2::1", "reserved"),
        ("2001:10::1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("::ffff:0:10.0.0.1", "reserved"),
        ("64:ff9b:1:ffff::1", "local NAT64"),
        ("2606:4700:4700::1111", None),
        ("2606:4700:4700::1111%2", None),
        ("2a00:1450:4001:800::200e", None),
        ("2001:4860:4860::8888", None),
        ("2400:cb00::1", None),
        ("", "not an address"),
        ("example.com", "not an address"),
        ("0177.0.0.1", "not an address"),
        ("2130706433", "not an address"),
        ("1.1.1.1/32", "not an address"),
    ],
)
def test_other_addresses_are_judged_by_the_registries(address: str, reason: str | None) -> None:
    assert forbidden(address) == reason


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_nothing_but_global_unicast_and_translated_ipv4_is_ever_allowed(address: ipaddress.IPv6Address) -> None:
    if forbidden(str(address)) is None:
        assert embedded(address) or int(address) >> 125 == 1


@given(st.ip_addresses(v=4))
def test_no_address_that_python_calls_local_is_allowed(address: ipaddress.IPv4Address) -> None:
    local = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    assert not (local or address.is_reserved or address.is_unspecified) or forbidden(str(address)) is not None


@given(st.text(max_size=60))
def test_any_text_has_a_verdict(text: str) -> None:
    assert forbidden(text) is None or forbidden(text)


def test_exceptions_are_networks_and_hosts() -> None:
    rule = AddressRule.of(["10.1.0.0/16", "127.0.0.1", "fd00::/8", "Ollama.internal"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "127.0.0.1", "fd00::1", "1.1.1.1"):
        assert rule.refusal("llm.example", address) is None, address
    for address in ("10.2.0.1", "127.0.0.2", "fc00::1", "169.254.169.254"):
        assert rule.refusal("llm.example", address), address
    assert rule.refusal("ollama.INTERNAL", "192.168.0.7") is None
    assert rule.refusal("x.ollama.internal", "192.168.0.7") == "private"
    # One of the two ends of a Teredo address is an exception, the other is not.
    assert rule.refusal("llm.example", teredo("10.1.0.1", "10.2.0.1")) == "private"


def test_origins_with_different_rules_share_nothing() -> None:
    rule, again = AddressRule.of(["10.0.0.0/8"]), AddressRule.of(["10.0.0.0/8"])
    one = Origin.parse("http://a.example/v1", rule=rule)
    assert one == Origin.parse("http://a.example/v1", rule=again)
    assert hash(one) == hash(Origin.parse("http://a.example/v1", rule=again))
    assert one != Origin.parse("http://a.example/v1")
    assert one != Origin.parse("http://a.example/v1", rule=AddressRule())


class Resolver:
    """What names resolve to: a list of addresses for each look-up in turn, the last for all that follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = {address: socket.AF_INET6 if ":" in address else socket.AF_INET for address in found}
        return [(families[one], socket.SOCK_STREAM, 6, "", (one, port)) for one in found]


async def refused(origin: Origin) -> GatewayError:
    pool = Pool()
    with pytest.raises(GatewayError) as raised:
        await pool.connect(origin, LIMITS, asyncio.get_running_loop().time() + 5)
    assert pool.open == 0
    await pool.close()
    return raised.value


async def test_a_name_is_looked_up_once_and_that_address_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # A second look-up would lead elsewhere (DNS rebinding).
    resolver = Resolver(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    pool = Pool()
    origin = Origin.parse(f"http://llm.example:{port}", rule=AddressRule.of(["127.0.0.1"]))
    connection = await pool.connect(origin, LIMITS, asyncio.get_running_loop().time() + 5)
    assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert resolver.asked == ["llm.example"]
    connection.abort()
    await pool.close()
    server.close()
    await gone.wait()


@pytest.mark.parametrize("found", [["10.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["2606:4700::1", "::ffff:127.0.0.1"]])
async def test_one_forbidden_address_among_those_of_a_name_is_enough(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    Resolver(monkeypatch, found)
    error = await refused(Origin.parse("http://llm.example", rule=AddressRule()))
    assert error.code == "address_not_allowed"
    assert found[-1] not in error.message
    assert "llm.example" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_behind_a_proxy_the_host_is_checked_before_the_proxy_hears_of_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    resolver = Resolver(monkeypatch, ["192.168.0.1"])
    origin = Origin.parse(f"{scheme}://llm.example", proxy="http://proxy.example:3128", rule=AddressRule())
    assert (await refused(origin)).code == "address_not_allowed"
    assert resolver.asked == ["llm.example"]


async def test_behind_a_proxy_a_host_that_cannot_be_looked_up_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver(monkeypatch, [])
    origin = Origin.parse("https://llm.example", proxy="http://proxy.example:3128", rule=AddressRule())
    assert (await refused(origin)).code == "upstream_connect_failed"
    assert resolver.asked == ["llm.example"]


async def test_the_operators_own_proxy_is_not_bound_by_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 No\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    resolver = Resolver(monkeypatch, ["1.1.1.1"], ["127.0.0.1"])
    origin = Origin.parse("https://llm.example", proxy=f"http://proxy.example:{port}", rule=AddressRule())
    assert (await refused(origin)).code == "upstream_proxy_failed"
    assert resolver.asked == ["llm.example", "proxy.example"]
    assert heads[0].startswith(b"CONNECT llm.example:443 HTTP/1.1\r\n")
    server.close()
