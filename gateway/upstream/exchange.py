"""What an exchange with an upstream is made of: who receives the answer, its limits, the ways it can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.errors import GatewayError
from gateway.upstream.answer import Headers

if TYPE_CHECKING:
    from gateway.upstream.connection import Connection

_REASONS = {
    "upstream_reset_before_write": "the connection was closed before the request was written",
    "upstream_reset_after_write": "the connection was closed before the answer came",
    "upstream_truncated": "the connection was closed in the middle of the answer",
    "upstream_first_byte_timeout": "no answer within the time limit for the first byte",
    "upstream_idle_timeout": "nothing moved for longer than the time limit between chunks",
    "upstream_total_timeout": "the call took longer than its time limit",
    "upstream_bad_answer": "it answered before the request was written",
}


def failure(code: str, upstream: str, reason: str | None = None) -> GatewayError:
    """The error for `code`; `upstream` is its `host:port`, which with the reason is all that the client reads."""
    return GatewayError(code, f"Upstream {upstream}: {reason or _REASONS[code]}.")


class Receiver(Protocol):
    """Who gets an answer. After `on_end`, `on_failure` or `abort` nothing more is called, and the connection
    is no longer the receiver's: it may serve another request already, so drop the reference to it there.
    """

    def on_head(self, status: int, headers: Headers) -> None:
        """The final answer's head; names are in lower case, interim answers (1xx) are left out."""

    def on_body(self, data: bytes) -> None:
        """The body bytes of one socket read."""

    def on_end(self) -> None:
        """The answer is complete; the connection has been released or closed."""

    def on_failure(self, error: GatewayError) -> None:
        """Instead of `on_end`: the exchange failed and the connection has been closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, size limits in bytes.

    `first_byte_s` counts from the written request to the answer's complete head, `idle_s` is the longest silence
    after that (and the longest stall of an upload). `max_head_bytes` includes interim answers.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float
    max_head_bytes: int = 65536
    max_body_bytes: int = 1 << 30


class Owner(Protocol):
    """The pool, as its connections see it."""

    sweeping: bool

    def sweep_soon(self) -> None:
        """An exchange has begun: look at the time limits from now on."""

    def write_soon(self, connection: Connection) -> None:
        """Call the connection's `write_now` before this turn of the loop is over."""

    def release(self, connection: Connection) -> None:
        """The exchange was clean: the connection may serve another."""

    def closed(self, connection: Connection) -> None:
        """The connection will serve nobody any more; told once."""

    def lost(self, connection: Connection) -> None:
        """The socket is closed too."""
