"""Where requests go: scheme, host and port of an upstream, its certificates and the proxy on the way."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from gateway.upstream.addresses import AddressRule
from gateway.upstream.proxy import Proxy, proxy_for

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """One server that connections are kept for; equal origins share a pool's connections.

    `host` is ASCII without brackets. `ca_file` replaces the public authorities; `cert_file` and `key_file` are
    the client's certificate (PEM paths). `host_header` is ready for a request head, `name` ("host:port") for
    messages. `forward` is what stands before the path when plain HTTP goes through a proxy, else None. `rule` says
    which addresses the host may lead to (None: any): see `opening.py`.
    """

    scheme: str
    host: str
    port: int
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    proxy: Proxy | None = None
    rule: AddressRule | None = None
    name: str = field(init=False, compare=False)
    host_header: bytes = field(init=False, compare=False, repr=False)
    forward: bytes | None = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        shown = host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"
        key = (self.scheme, self.host, self.port, self.ca_file, self.cert_file, self.key_file, self.proxy, self.rule)
        object.__setattr__(self, "name", f"{host}:{self.port}")
        object.__setattr__(self, "host_header", shown.encode("ascii"))
        forwarded = self.proxy is not None and self.scheme == "http"
        object.__setattr__(self, "forward", f"http://{shown}".encode("ascii") if forwarded else None)
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash

    @property
    def forward_authorization(self) -> bytes | None:
        """The proxy's credentials, which go into each request where `forward` is set."""
        return self.proxy.authorization if self.proxy else None

    @property
    def tls(self) -> bool:
        """Is the way to the origin encrypted?"""
        return self.scheme == "https"

    @classmethod
    def parse(
        cls,
        base_url: str,
        *,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        proxy: str | None = None,
        environ: Mapping[str, str] | None = None,
        rule: AddressRule | None = None,
    ) -> Origin:
        """The origin of `base_url` (http or https; path and query are ignored).

        `proxy`: None for none, "env" for HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY from `environ` (the
        process's environment by default), else the proxy's URL. Raises ValueError; its message holds no userinfo.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"the URL's scheme must be http or https, not {parts.scheme!r}")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a base URL must not hold a user name or password")
        if key_file and not cert_file:
            raise ValueError("key_file needs cert_file")
        host, port = _host_of(parts), _port_of(parts)
        if proxy == "env":
            way = proxy_for(parts.scheme, host, port, os.environ if environ is None else environ)
        else:
            way = Proxy.parse(proxy) if proxy else None
        return cls(parts.scheme, host, port, ca_file, cert_file, key_file, way, rule)


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        raise ValueError("the URL has no host")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        ascii_host = host.encode("ascii" if host.isascii() else "idna").decode()
    except UnicodeError as error:
        raise ValueError("the URL's host is not a valid name") from error
    if not all(character.isalnum() or character in "-._" for character in ascii_host):
        raise ValueError("the URL's host is not a valid name")
    return ascii_host


def _port_of(parts: SplitResult) -> int:
    port = parts.port  # urlsplit raises ValueError itself for what is not 0-65535
    if port == 0:
        raise ValueError("the URL's port must be 1 to 65535")
    return port or _DEFAULT_PORTS[parts.scheme]
