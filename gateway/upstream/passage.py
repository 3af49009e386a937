"""How one attempt's bytes pass between the client and a target.

Where both speak the same dialect the bytes stay as they are and a tap reads the usage: `straight.py`. Where they do
not, `translation.py` goes by way of the canonical form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.upstream.job import Headers, Job, Outcome
from gateway.upstream.target import Target
from gateway.wire.usage import Usage


class Tap(Protocol):
    """Looks at a stream on its way to the client, or makes the client's stream of it.

    After `done` or `error` nothing more is fed. `ending` are the bytes that end a complete stream: they leave after
    the account is closed.
    """

    @property
    def usage(self) -> Usage | None:
        """What was reported so far."""

    @property
    def error(self) -> GatewayError | None:
        """Why the stream cannot go on."""

    @property
    def done(self) -> bool:
        """Has the stream's own end come?"""

    @property
    def ending(self) -> bytes:
        """Asked for once, when `done`."""

    def feed(self, data: bytes) -> bytes:
        """The bytes to write on now."""

    def finish(self) -> bytes:
        """The body has ended: what is left to write, and `done` where that was the proper end."""

    def broken(self, error: GatewayError, request_id: str) -> bytes:
        """The events that end the client's stream where it cannot be finished."""

    def estimate_completion_tokens(self) -> int:
        """Tokens seen so far, for a stream that reports no usage."""

    def most_completion_tokens(self) -> int:
        """Tokens seen so far at most, as many as there are bytes of text; for a stream that was cut."""


class Passage(Protocol):
    """One for all attempts of its kind, or one for each: only dispatch's attempt holds it."""

    @property
    def dropped(self) -> Sequence[str]:
        """Request fields that the provider lacks and that were left out; known once the request is encoded."""

    async def prepare(self, job: Job) -> None:
        """What has to be fetched before the request can be encoded. Raises GatewayError."""

    def encode(self, job: Job, target: Target) -> bytes:
        """The request's body. Raises GatewayError."""

    def path(self, job: Job, target: Target) -> str:
        """Where the request goes, behind the host: what is signed."""

    def head(self, job: Job, target: Target, lines: bytes, length: int) -> bytes:
        """The request's head for a body of `length` bytes; `lines` are header lines of this attempt."""

    def read(self, job: Job, outcome: Outcome, answer: bytes, headers: Headers) -> bytes:
        """The client's body of a whole answer, which came with `headers`. Notes its usage, or what an estimate needs.

        Raises GatewayError.
        """

    def tap(self, job: Job, target: Target) -> Tap:
        """For the answer to a streamed request."""

    def is_stream(self, content_type: bytes) -> bool:
        """Is an answer of this content type (in lower case) a stream?"""

    def read_error(self, target: Target, status: int, answer: bytes, retry_after_s: float | None) -> GatewayError:
        """What an answer outside 2xx means."""
