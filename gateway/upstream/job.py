"""What dispatch needs to know of a request, and what it tells of its attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.endpoint import Endpoint
from gateway.wire.inbound import Inbound
from gateway.wire.token_estimate import BYTES_PER_TOKEN
from gateway.wire.usage import Usage

if TYPE_CHECKING:
    from gateway.upstream.target import Target

Headers = list[tuple[bytes, bytes]]

# The message of the cancellation that tells a request's task that its client has gone. With any other, what the task
# has begun ends now.
CLIENT_GONE: Final = "client gone"


class Flow(Protocol):
    """Whoever can be asked to stop reading for a while: an upstream connection."""

    def pause_reading(self) -> None:
        """Stop."""

    def resume_reading(self) -> None:
        """Go on."""


class Sink(Protocol):
    """The client's side of a streamed answer. Nothing here waits; `attach` gives it whom to slow down."""

    def start(self, status: int, headers: Headers) -> None:
        """Write the head of the answer."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body at once."""

    def end(self) -> None:
        """Finish the body."""

    def attach(self, flow: Flow | None) -> None:
        """From now on pause and resume `flow` as the client takes what is written; None: nobody."""


@dataclass(slots=True)
class Reply:
    """A whole answer for the client; `headers` holds what the upstream's answer adds, content-type first."""

    status: int
    body: bytes
    headers: Headers


@dataclass(slots=True)
class Outcome:
    """How one attempt ended. Times are seconds; `started_at` is on time.perf_counter, `first_byte_s` counts from
    it and is -1 if no byte came. `usage` is what the answer reported; where it is None, `request_bytes` and
    `streamed_tokens` are what an estimate can use; of a stream that was cut no more than `most_streamed_tokens` have
    come. `final` marks the attempt whose outcome the client got.
    `dropped` names the request fields that the provider lacks and that were not sent.
    """

    target: Target
    number: int
    started_at: float = 0.0
    request_bytes: int = 0
    streamed: bool = False
    code: str = "ok"
    status: int = 0
    sent: bool = False
    billable: bool = True
    final: bool = True
    usage: Usage | None = None
    streamed_tokens: int = 0
    most_streamed_tokens: int = 0
    dropped: Sequence[str] = ()
    duration_s: float = 0.0
    first_byte_s: float = -1.0
    span_id: int = 0  # of the trace that was sent along, where there is one

    def estimate(self) -> Usage:
        """What an attempt used that reported nothing: nothing where it cannot have been billed."""
        if not self.sent or not self.billable:
            return Usage()
        return Usage(prompt=self.request_bytes // BYTES_PER_TOKEN, completion=self.streamed_tokens, estimated=True)


class Job(Protocol):
    """One request as dispatch sees it; a pipeline's Call is one.

    `headers` are the client's, names in lower case; `started_us` is microseconds since 1970; `speech` is the API that
    the client speaks.
    """

    request_id: str
    started_us: int
    headers: Mapping[bytes, bytes]
    speech: Inbound
    endpoint: Endpoint
    body: bytes
    document: Document
    stream: bool
    asked_model: str
    targets: Sequence[Target]
    context_fallbacks: Sequence[Target]
    policy_fallbacks: Sequence[Target]
    forwarded: bytes
    begin_span: Callable[[Outcome], bytes] | None
    outcomes: list[Outcome]
    cost_nano_usd: int
    broken: GatewayError | None
    chunk_watcher: Callable[[bytes], None] | None

    def begin_stream(self, outcome: Outcome) -> Headers:
        """The client's first token is about to leave: the head of its answer."""

    def canonical(self) -> Document:
        """The request in the canonical form. Raises GatewayError."""


# What an admission hands out for one attempt; only it knows what is inside.
Permit = Any
# What it has set aside for an attempt that is still to be encoded, None for nothing.
Reservation = Any


class Admission(Protocol):
    """Asked before and after every attempt, so that retries and dearer fallbacks are accounted like first ones.

    `job` is the caller's own Job, with more on it than dispatch reads.
    """

    def reserve(self, job: Any, target: Target) -> Awaitable[Reservation] | None:
        """Set aside what an attempt at `target` may take, before its request is encoded: the job's output cap may
        shrink for it. None: there is nothing to set aside, and nothing to wait for.

        Raises the GatewayError that says why not. Each reservation is given to `admit` or to `forgo`.
        """

    def forgo(self, reservation: Reservation) -> None:
        """The attempt is not made after all."""

    def admit(self, job: Any, target: Target, attempt: int, reservation: Reservation) -> Permit:
        """Allow this attempt, or raise the GatewayError that says why not; then what was set aside is to be forgone.

        A second attempt is asked for while the permit of the one before is still open (it is closed as soon as
        this one is granted): only then is it known whether that one was the last, and final.
        """

    def close(self, job: Any, permit: Permit, outcome: Outcome) -> None:
        """Settle a permit, exactly once, before the answer's last byte leaves. Never waits and never raises."""


def forwarded(job: Job, outcome: Outcome) -> bytes:
    """The header lines that go upstream with this attempt: the client's, and a span of its own where it is traced."""
    return job.forwarded if job.begin_span is None else job.begin_span(outcome)
