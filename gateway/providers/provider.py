"""The shape of a provider: what must be known to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bearer:
    """Authentication by `Authorization: Bearer <key>`; `env` is the key's usual environment variable."""

    env: str

    def headers(self, secret: str) -> dict[str, str]:
        """The headers that carry `secret`; none for an empty one (`api_key: none`)."""
        return {"authorization": f"Bearer {secret}"} if secret else {}


@dataclass(frozen=True, slots=True)
class NoAuth:
    """A provider that asks for no key."""

    env: str = ""

    def headers(self, secret: str) -> dict[str, str]:
        """A key given all the same is sent as a bearer token: proxies in front of local models want one."""
        return {"authorization": f"Bearer {secret}"} if secret else {}


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider type.

    `unsupported` are request fields to leave out, `renamed` those it calls otherwise; `stream_usage` says
    whether it takes `stream_options.include_usage`; `local` marks what answers without a network, and
    `probe_path` the path whose answer on the usual port switches it on.
    """

    name: str
    base_url: str
    auth: Bearer | NoAuth
    dialect: str = "openai"
    unsupported: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    stream_usage: bool = True
    local: bool = False
    probe_path: str = ""
