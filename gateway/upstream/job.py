"""What dispatch needs to know of a request, and what it tells of its attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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


class Reply:
    """A whole answer for the client; `headers` holds what the upstream's answer adds, content-type first."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Outcome:
    """How one attempt ended. Times are seconds; `started_at` is on time.perf_counter, `first_byte_s` counts from
    it and is -1 if no byte came. `usage` is what the answer reported; where it is None, `request_bytes` and
    `streamed_tokens` are what an estimate can use; of a stream that was cut no more than `most_streamed_tokens` have
    come. `final` marks the attempt whose outcome the client got.
    `dropped` names the request fields that the provider lacks and that were not sent.
    """

    __slots__ = (
        "billable",
        "code",
        "dropped",
        "duration_s",
        "final",
        "first_byte_s",
        "most_streamed_tokens",
        "number",
        "request_bytes",
        "sent",
        "span_id",
        "started_at",
        "status",
        "streamed",
        "streamed_tokens",
        "target",
        "usage",
    )

    def __init__(
        self, target: Target, number: int, started_at: float = 0.0, request_bytes: int = 0, streamed: bool = False
    ) -> None:
        self.target = target
        self.number = number
        self.started_at = started_at
        self.request_bytes = request_bytes
        self.streamed = streamed
        self.code = "ok"
        self.status = 0
        self.sent = False
        self.billable = True
        self.final = True
        self.usage: Usage | None = None
        self.streamed_tokens = 0
        self.most_streamed_tokens = 0
        self.dropped: Sequence[str] = ()
        self.duration_s = 0.0
        self.first_byte_s = -1.0
        self.span_id = 0  # of the trace that was sent along, where there is one

    def estimate(self) -> Usage:
        """What an attempt used that reported nothing: nothing where it cannot have been billed."""
        if not self.sent or not self.billable:
            return Usage()
        return Usage(prompt=self.request_bytes // BYTES_PER_TOKEN, completion=self.streamed_tokens, estimated=True)


class Job(Protocol):
    """One request as dispatch sees it; a pipeline's Call is one.

    `headers` are the client's, names in lower case; `started_us` is microseconds since 1970; `speech` is the API that
    the client speaks; `flat` is as in wire/flat.py, False where nobody has looked.
    """

    request_id: str
    started_us: int
    headers: Mapping[bytes, bytes]
    speech: Inbound
    endpoint: Endpoint
    body: bytes
    document: Document
    flat: bool
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


class Reserved:
    """What an admission has set aside for an attempt that is still to be encoded; only it knows what is inside."""

    __slots__ = ()


class Admission(Protocol):
    """Asked before and after every attempt, so that retries and dearer fallbacks are accounted like first ones.

    `job` is the caller's own Job, with more on it than dispatch reads.
    """

    def reserve(self, job: Any, target: Target) -> Reserved | Awaitable[Reserved | None] | None:
        """Set aside what an attempt at `target` may take, before its request is encoded: the job's output cap may
        shrink for it. What it takes no waiting to set aside is given at once; None: there is nothing to set aside.

        Raises the GatewayError that says why not. Each reservation is given to `admit` or to `forgo`.
        """

    def forgo(self, reservation: Any) -> None:
        """The attempt is not made after all."""

    def admit(self, job: Any, target: Target, attempt: int, reservation: Any) -> Permit:
        """Allow this attempt, or raise the GatewayError that says why not; then what was set aside is to be forgone.

        A second attempt is asked for while the permit of the one before is still open (it is closed as soon as
        this one is granted): only then is it known whether that one was the last, and final.
        """

    def close(self, job: Any, permit: Permit, outcome: Outcome) -> None:
        """Settle a permit, exactly once, before the answer's last byte leaves. Never waits and never raises."""


def forwarded(job: Job, outcome: Outcome) -> bytes:
    """The header lines that go upstream with this attempt: the client's, and a span of its own where it is traced."""
    return job.forwarded if job.begin_span is None else job.begin_span(outcome)
