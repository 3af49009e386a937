"""Which addresses a URL that somebody else chose may lead to: those that anybody on the internet could reach.

What an administrator or a client names (a base URL given over the admin API, an image, a webhook) could point
into the gateway's own network, where a request from the gateway is trusted: the cloud's metadata service, a
database, another tenant's pod. The rule is applied to the addresses that a name resolves to, at the moment of
connecting and to those very addresses (`opening.py`), so that a name that changes its mind between check and use
gains nothing.

Networks: the IANA special-purpose registries, https://www.iana.org/assignments/iana-ipv4-special-registry and
iana-ipv6-special-registry (read 2026-11), and the metadata addresses of the large clouds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# First match wins: single addresses stand before the networks that they lie in. AWS, Azure and Google use the first
# address (and Google fd20:ce::254, AWS fd00:ec2::254, ECS tasks 169.254.170.2), Azure's WireServer 168.63.129.16,
# Alibaba 100.100.100.200, Oracle 192.0.0.192.
_FORBIDDEN_V4: tuple[tuple[ipaddress.IPv4Network, str], ...] = tuple(
    (ipaddress.IPv4Network(network), reason)
    for network, reason in (
        ("169.254.169.254", "cloud metadata"),
        ("169.254.170.2", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("192.0.0.192", "cloud metadata"),
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("169.254.0.0/16", "link-local"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("0.0.0.0/8", "this host (0.0.0.0/8)"),
        ("224.0.0.0/4", "multicast"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("240.0.0.0/4", "reserved"),
    )
)
_FORBIDDEN_V6: tuple[tuple[ipaddress.IPv6Network, str], ...] = tuple(
    (ipaddress.IPv6Network(network), reason)
    for network, reason in (
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("::1", "loopback"),
        ("::", "this host (::)"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("fc00::/7", "unique-local"),
        ("ff00::/8", "multicast"),
        # RFC 8215: translated within one network, with the IPv4 address at a place that only that network knows.
        ("64:ff9b:1::/48", "local NAT64"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_IETF = ipaddress.IPv6Network("2001::/23")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def forbidden(address: str) -> str | None:
    """Why nobody but the operator may point the gateway at `address`, in a word or two; None where anybody may.

    `address` is written as by inet_ntop, an IPv6 zone is ignored. An IPv6 address that stands for an IPv4 one
    (IPv4-mapped, 6to4, Teredo, NAT64) is judged by that one too. What is no address is forbidden.
    """
    return _reason(address, ())


def _reason(address: str, allowed: Sequence[Network]) -> str | None:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "not an address"
    return _reason_v4(found, allowed) if isinstance(found, ipaddress.IPv4Address) else _reason_v6(found, allowed)


def _reason_v4(address: ipaddress.IPv4Address, allowed: Sequence[Network]) -> str | None:
    if any(address in network for network in allowed):
        return None
    return next((reason for network, reason in _FORBIDDEN_V4 if address in network), None)


def _reason_v6(address: ipaddress.IPv6Address, allowed: Sequence[Network]) -> str | None:
    if any(address in network for network in allowed):
        return None
    inner = embedded(address)
    for reason in (_reason_v4(inside, allowed) for inside in inner):
        if reason is not None:
            return reason
    for network, reason in _FORBIDDEN_V6:
        if address in network:
            return reason
    if inner and address not in _COMPATIBLE:
        return None
    return None if address in _GLOBAL_UNICAST and address not in _IETF else "reserved"


def embedded(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that packets to `address` may end at.

    RFC 4291 (IPv4-mapped and -compatible), RFC 3056 (6to4), RFC 4380 (Teredo: server and client), RFC 6052 (NAT64).
    """
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _SIX_TO_FOUR:
        return (address.sixtofour or ipaddress.IPv4Address(0),)
    if address in _TEREDO:
        return address.teredo or ()
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


@dataclass(frozen=True, slots=True)
class AddressRule:
    """The rule with the operator's exceptions: networks, and host names (lower case) whatever they resolve to.

    Equal rules are equal: an `Origin` carries one, and origins with different rules share no connections.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allowed: Iterable[str]) -> AddressRule:
        """The rule for `security.allow_private_upstreams`: each an address, a network or a host name."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in allowed:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                hosts.add(entry.lower())
        return cls(tuple(networks), frozenset(hosts))

    def refusal(self, host: str, address: str) -> str | None:
        """Why a connection to `address`, to which `host` resolves, is not allowed; None where it is."""
        return None if host.lower() in self.hosts else _reason(address, self.networks)
