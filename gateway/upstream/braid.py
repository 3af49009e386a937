"""Several streams, each with one answer, woven into the one stream that the client asked for.

Each upstream's stream is received and judged like any other, by way of a strand, which is to its receiver what client
and job are to others. The braid numbers the strands' choices and makes the client's stream of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields

from gateway.errors import GatewayError
from gateway.upstream.job import Flow, Headers, Job, Outcome, Sink
from gateway.wire import sse
from gateway.wire.dialect import Document
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

# One answer has one of each, whatever the upstreams say.
_SHARED = ("id", "created", "model")


class Braid:
    """The client's stream. `started` says that its head is written; from then on it has to be ended."""

    def __init__(self, job: Job, sink: Sink, twins: Sequence[Job]) -> None:
        """`twins` are the jobs of the strands."""
        self.started = False
        self.paused = False
        self.flows: set[Flow] = set()
        self.request_id = job.request_id
        self._job = job
        self._twins = twins
        self._sink = sink
        self._look: Callable[[bytes], None] | None = job.chunk_watcher
        self._encoder = job.speech.encoder(job.document)
        self._shared: Document = {}

    # --- called by the strands ----------------------------------------------------------------------

    def begin(self, outcome: Outcome) -> None:
        """A strand's first event has come; the client's head leaves with the first one of all."""
        if self.started:
            outcome.first_byte_s = time.perf_counter() - outcome.started_at
            return
        self.started = True
        others = [other for twin in self._twins for other in twin.outcomes if other is not outcome]
        self._job.outcomes = [*others, outcome]  # what the head tells of
        head = self._job.begin_stream(outcome)
        self._sink.attach(self)
        self._sink.start(200, head)

    def write(self, number: int, data: bytes) -> None:
        """Whole events of strand `number`. Raises upstream_bad_answer, or what a watcher has against them."""
        written = []
        for event in sse.split_events(data):
            payload = sse.event_data(event)
            if payload is None:
                continue
            chunk = parse_object(payload)
            if chunk is None:
                raise GatewayError("upstream_bad_answer", "The provider sent an event that is not a JSON object.")
            if self._renumber(chunk, number):
                written.append(self._encoder.encode(chunk))
        if written:
            data = b"".join(written)
            if self._look is not None:
                self._look(data)
            self._sink.write(data)

    def _renumber(self, chunk: Document, number: int) -> bool:
        """Make `chunk` one of the client's answer. False where it has no choice: its usage is told for all at once."""
        choices = chunk.get("choices")
        if type(choices) is not list or not choices:
            return False
        for choice in choices:
            if type(choice) is dict:
                choice["index"] = number
        chunk.pop("usage", None)
        if not self._shared:
            self._shared = {name: chunk[name] for name in _SHARED if name in chunk}
        chunk.update(self._shared)
        return True

    # --- called by the client's side ----------------------------------------------------------------

    def pause_reading(self) -> None:
        """The client takes nothing at the moment: no upstream is read from, nor one that begins now."""
        self.paused = True
        for flow in self.flows:
            flow.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self.paused = False
        for flow in self.flows:
            flow.resume_reading()

    # --- the end ------------------------------------------------------------------------------------

    def finish(self, usages: Sequence[Usage | None]) -> None:
        """All strands have come to a good end, with these usages; of a sum, none may be missing."""
        known = [usage for usage in usages if usage is not None]
        self._sink.write(self._encoder.finish(_sum(known) if len(known) == len(usages) else None))
        self._sink.end()

    def break_off(self, error: GatewayError) -> None:
        """One strand broke, and the others have been given up: an error is the last event."""
        self._job.broken = error
        self._sink.write(self._encoder.fail(error, self.request_id))
        self._sink.end()

    def detach(self) -> None:
        """Nobody is to be slowed down any more."""
        self._sink.attach(None)


class Strand:
    """One upstream's part: its receiver's client and job in one. `broken` is what ended it after its first event."""

    def __init__(self, braid: Braid, number: int) -> None:
        self.number = number
        self.request_id = braid.request_id
        self.broken: GatewayError | None = None
        self.chunk_watcher: Callable[[bytes], None] | None = None  # the braid shows what really leaves
        self._braid = braid
        self._flow: Flow | None = None
        self._over = False

    def begin_stream(self, outcome: Outcome) -> Headers:
        """This upstream has begun. The head is the braid's to write."""
        self._braid.begin(outcome)
        return []

    def start(self, status: int, headers: Headers) -> None:
        """The braid has done that."""

    def attach(self, flow: Flow | None) -> None:
        """Slow this upstream down together with the others; None: its stream is over, but for its own ending."""
        braid = self._braid
        if self._flow is not None:
            braid.flows.discard(self._flow)
        self._flow = flow
        if flow is None:
            self._over = True
            return
        braid.flows.add(flow)
        if braid.paused:
            flow.pause_reading()

    def write(self, data: bytes) -> None:
        """Some of its events; how the client's stream ends is not for one strand to say."""
        if not self._over:
            self._braid.write(self.number, data)

    def end(self) -> None:
        """The others may go on."""


def _sum(usages: Sequence[Usage]) -> Usage:
    total = Usage()
    for field in fields(Usage):
        if field.name != "estimated":
            setattr(total, field.name, sum(getattr(usage, field.name) for usage in usages))
    return total
