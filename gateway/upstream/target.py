"""Whom to call: a configured provider (an account) and one model at it (a target), worked out ahead of any request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from gateway.upstream.connection import Connection, Limits, Origin, render_head
from gateway.upstream.credentials.credentials import Credentials
from gateway.upstream.health import Breaker
from gateway.upstream.key_ring import KeyRing
from gateway.upstream.pool import Pool
from gateway.wire.dialect import Dialect, HeaderLines
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai import OPENAI_ENDPOINTS, Variations
from gateway.wire.openai_dialect import OpenAIDialect

# Heads of one target by path and the dialect's headers: few, but a client's own may be among them.
_MAX_HEADS = 64


class Line(Protocol):
    """Where connections come from: the pool for an origin, or the demo provider."""

    def take(self) -> Connection | None:
        """A connection that is ready now."""

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """A new one; `deadline` is on the loop's clock. Raises GatewayError."""


class PoolLine:
    """The pool's connections to one origin."""

    __slots__ = ("_origin", "_pool")

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self._origin = origin

    def take(self) -> Connection | None:
        """An idle connection, if there is one."""
        return self._pool.take(self._origin)

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """A new connection. Raises GatewayError."""
        return await self._pool.connect(self._origin, limits, deadline)


@dataclass(frozen=True, slots=True)
class Manner:
    """How an account is spoken to.

    `dialect` None: OpenAI's, with `variations`. `keeps_foreign`: may messages hold what other providers' answers
    bring along (`reasoning_content` and the like)? `options` are what paths and dialects may name (api_version,
    region), `paths` replace the usual ones by operation, `policy` says what to do with fields that it lacks, `keys`
    are its API keys where it has any, `credentials` what is worked out for each request.
    """

    variations: Variations = field(default_factory=Variations)
    dialect: Dialect | None = None
    keeps_foreign: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)
    keys: KeyRing | None = None
    credentials: Credentials | None = None


class Account:
    """One provider as configured: where it is and what it wants to see in a request's head.

    `headers` carry its credentials, so an account is never shown or logged; `base_path` goes before every path. If it
    `finishes`, an answer is taken to its end also when the client has gone, so that the usage comes.
    """

    __slots__ = (
        "_lines",
        "authenticates",
        "base_path",
        "base_url",
        "credentials",
        "dialect",
        "finishes",
        "host",
        "keeps_foreign",
        "keys",
        "limits",
        "line",
        "local",
        "name",
        "name_header",
        "openai_dialect",
        "options",
        "paths",
        "policy",
        "type",
        "variations",
    )

    def __init__(
        self,
        *,
        name: str,
        type: str,
        base_url: str,
        base_path: str,
        host: bytes,
        headers: Mapping[str, str],
        line: Line,
        limits: Limits,
        manner: Manner,
        local: bool,
        finishes: bool = False,
    ) -> None:
        self.name, self.name_header = name, printable(name)
        self.type = type
        self.base_url, self.base_path = base_url, base_path
        self.host = host
        self.line = line
        self.limits = limits
        self.local = local
        self.finishes = finishes
        self.variations = manner.variations
        self.dialect = manner.dialect
        self.openai_dialect = OpenAIDialect(variations=manner.variations, who=f"the provider '{name}'")
        self.keeps_foreign = manner.keeps_foreign
        self.options = manner.options
        self.paths = manner.paths
        self.policy = manner.policy
        self.keys = manner.keys
        self.credentials = manner.credentials
        # Is there more to a request's authentication than a header that is always the same?
        self.authenticates = manner.credentials is not None or (manner.keys is not None and len(manner.keys.keys) > 1)
        self._lines = [
            (b"host", host),
            (b"accept-encoding", b"identity"),
            *((key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()),
        ]

    def begin_head(self, method: str, path: str, *extra: tuple[bytes, bytes]) -> bytes:
        """A request head without its final empty line, so that more header lines can follow.

        `path` begins behind the base path; a header in `extra` takes the place of the account's of that name.
        Raises GatewayError (invalid_request) for a path that would break out of its line.
        """
        return self.head_at(method, self.base_path + path, extra)

    def head_at(self, method: str, path: str, extra: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The same for a whole path."""
        lines: Sequence[tuple[bytes, bytes]] = self._lines
        if extra:
            names = {name for name, _ in extra}
            lines = [*(line for line in lines if line[0] not in names), *extra]
        return render_head(method.encode("ascii", "replace"), path.encode("latin-1", "replace"), lines)[:-2]


class Target:
    """Where a route may send a request: one model at one account."""

    __slots__ = (
        "_heads",
        "_made",
        "_paths",
        "account",
        "breaker",
        "limits",
        "line",
        "model",
        "model_header",
        "name",
        "options",
        "policy",
        "priority",
        "provider",
        "provider_header",
        "serves",
        "variations",
        "weight",
    )

    def __init__(
        self,
        account: Account,
        model: str,
        breaker: Breaker,
        limits: Limits,
        *,
        weight: float = 1.0,
        priority: int = 0,
        options: Mapping[str, str] | None = None,
        policy: Mapping[str, str] | None = None,
        serves: str = "",
    ) -> None:
        """`options` and `policy` are the model's own, on top of the account's. `serves` is the own name of the declared
        model that has this target; empty for what is asked for as `provider/model`."""
        self.account = account
        self.provider = account.name
        self.provider_header = account.name_header
        self.model = model
        self.model_header = printable(model)
        self.name = f"{account.name}/{model}"
        self.breaker = breaker
        self.limits = limits
        self.line = account.line
        self.variations = account.variations
        self.options = {**account.options, **(options or {})}
        self.policy = {**account.policy, **(policy or {})}
        self.serves = serves
        self.weight = weight
        self.priority = priority
        named = {name: quote(value, safe="") for name, value in {**self.options, "model": model}.items()}
        self._paths = {
            operation: account.base_path + template.format_map(named) for operation, template in account.paths.items()
        }
        self._heads = {endpoint: self._begin(self.path_of(endpoint), ()) for endpoint in OPENAI_ENDPOINTS}
        self._made: dict[tuple[str, HeaderLines], bytes] = {}

    def path(self, operation: str) -> str:
        """The whole path of an operation that the account has elsewhere than its dialect; empty for the others."""
        return self._paths.get(operation, "")

    def path_of(self, endpoint: Endpoint) -> str:
        """The whole path of one of OpenAI's endpoints."""
        return self._paths.get(endpoint.operation) or self.account.base_path + endpoint.upstream_path

    def head(self, endpoint: Endpoint, lines: bytes, length: int) -> bytes:
        """The whole request head for a body of `length` bytes; `lines` are header lines of this request."""
        return b"%b%bcontent-length: %d\r\n\r\n" % (self._heads[endpoint], lines, length)

    def head_for(self, path: str, headers: HeaderLines, lines: bytes, length: int) -> bytes:
        """The same for a dialect's path and headers. Raises GatewayError (invalid_request)."""
        key = (path, headers)
        begun = self._made.get(key)
        if begun is None:
            begun = self._begin(path, headers)
            if len(self._made) >= _MAX_HEADS:
                self._made.clear()
            self._made[key] = begun
        return b"%b%bcontent-length: %d\r\n\r\n" % (begun, lines, length)

    def _begin(self, path: str, headers: HeaderLines) -> bytes:
        return self.account.head_at("POST", path, ((b"content-type", b"application/json"), *headers))


def printable(name: str) -> bytes:
    """`name` as a header value: what is not printable ASCII becomes a question mark."""
    return bytes(octet if 32 <= octet < 127 else 63 for octet in name.encode("ascii", "replace"))
