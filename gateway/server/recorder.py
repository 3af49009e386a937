"""Tells metrics, request log and telemetry how each call ended.

Of calls that are over it is told a little later, of many at once: code that runs for one call after the other stays in
the processor's caches, which makes it twice as fast as code that is come to between other things.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from gateway.errors import GatewayError
from gateway.metrics import Counter, Histogram, Metrics
from gateway.pipeline.call import Call, Reply
from gateway.server.body_log import BodyLog
from gateway.server.finished import Attempt, FinishedRequest
from gateway.server.request_log import RequestLog
from gateway.server.telemetry import Telemetry
from gateway.server.trace_context import Trace
from gateway.upstream.job import Outcome
from gateway.upstream.target import Target
from gateway.wire.endpoints import ENDPOINTS

# Set on an aiohttp request that is told of by `finished`.
Recorded: web.RequestKey[bool] = web.RequestKey("recorded", bool)

_log = logging.getLogger("gateway.server")

_LABEL_CACHE = 4096
# Told after so long, or as soon as so many wait.
_TELL_S = 0.01
_MOST = 64
_PIPELINE_PATHS = frozenset(path for endpoint in ENDPOINTS for path in endpoint.paths)


class Recorder:
    """One per worker. Metric children are looked up once; per call it is additions and one line."""

    def __init__(self, metrics: Metrics, log: RequestLog, telemetry: Telemetry | None = None) -> None:
        self._metrics = metrics
        self._log = log
        self._telemetry = telemetry
        self.bodies = BodyLog("none")
        self._streams = metrics.streams_open.child()
        self._stream_begun = self._streams.inc
        self._gone = metrics.client_disconnects.child()
        self._waited = metrics.store_waits.child("yes")
        self._untouched = metrics.store_waits.child("no")
        self._usual: dict[tuple[str, str, str, int], tuple[Counter, Histogram, Histogram]] = {}
        self._attempts: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._over: list[Call] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.on_collect(self.tell)

    def begun(self, call: Call) -> None:
        """A call has come in."""
        call.on_first_token = self._stream_begun
        if self._telemetry is not None:
            self._begin_trace(call, self._telemetry)
        if self.bodies.enabled:
            self.bodies.begin(call)

    def _begin_trace(self, call: Call, telemetry: Telemetry) -> None:
        """Continue the client's trace or begin one; every attempt takes a span of it along."""
        headers = call.headers
        call.trace = trace = telemetry.begin(headers.get(b"traceparent"), headers.get(b"tracestate"))
        lines = call.forwarded.splitlines(keepends=True)
        kept = b"".join(line for line in lines if not line.startswith((b"traceparent", b"tracestate")))
        if trace.state:
            kept += b"tracestate: %b\r\n" % trace.state

        def begin_span(outcome: Outcome) -> bytes:
            outcome.span_id, parent = telemetry.outgoing(trace)
            return b"%btraceparent: %b\r\n" % (kept, parent)

        call.begin_span = begin_span

    def refused(self, error: GatewayError, client_ip: str) -> None:
        """A request was refused before it was one."""
        self._metrics.requests.child("none", "", "", str(error.status)).inc()
        self._metrics.failures.child(error.code, "none").inc()

    def answered(self, request: web.Request, status: int, error: GatewayError | None) -> None:
        """aiohttp answered a request; those of the pipeline are told of by `finished`."""
        if request.get(Recorded):
            return
        resource = request.match_info.route.resource
        endpoint = resource.canonical if resource is not None else "unknown"
        if endpoint in _PIPELINE_PATHS and error is None:
            return
        self._metrics.requests.child(endpoint, "", "", str(status)).inc()
        if error is not None:
            self._metrics.failures.child(error.code, endpoint).inc()

    def finished(self, call: Call, reply: Reply | None = None) -> None:
        """A call is over, however it ended."""
        if call.first_token_at:
            self._streams.dec()
        if self.bodies.enabled:
            self.bodies.end(call, reply)
        call.release()
        over = self._over
        over.append(call)
        if len(over) == 1:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_later(_TELL_S, self.tell)
        elif len(over) >= _MOST:
            self.tell()

    def tell(self) -> None:
        """Tell of the calls that are over now."""
        over, self._over = self._over, []
        for call in over:
            try:
                self._tell(call)
            except Exception:
                _log.exception("request %s could not be recorded", call.request_id)

    def _tell(self, call: Call) -> None:
        upstream_s = 0.0
        outcomes = call.outcomes
        for outcome in outcomes:
            upstream_s += outcome.duration_s
            self._count_attempt(outcome)
        target = None
        if outcomes:
            target = outcomes[-1].target
            if call.waited is not None:
                (self._waited if call.waited else self._untouched).inc()
        total_s = call.duration_s
        self._count(call, target, total_s, upstream_s)
        telemetry = self._telemetry
        tell_all = telemetry is not None or len(outcomes) > 1 or call.error is not None
        record = _record(call, target, total_s, upstream_s, _story(call) if tell_all else ())
        self._log.write(record)
        if telemetry is not None:
            telemetry.request_finished(record)

    def _count(self, call: Call, target: Target | None, total_s: float, upstream_s: float) -> None:
        endpoint = call.endpoint.name
        # A model nobody declared is the client's own text: it never becomes a label.
        model = call.asked_model if call.targets else ""
        provider = target.provider if target is not None else ""
        labels = (endpoint, model, provider, call.status)
        children = self._usual.get(labels)
        if children is None:
            metrics = self._metrics
            children = (
                metrics.requests.child(endpoint, model, provider, str(call.status)),
                metrics.added_latency.child(endpoint),
                metrics.request_duration.child(endpoint, model),
            )
            if len(self._usual) < _LABEL_CACHE:
                self._usual[labels] = children
        children[0].inc()
        children[1].observe(max(0.0, total_s - upstream_s))
        children[2].observe(total_s)
        if call.first_token_at:
            self._metrics.time_to_first_token.child(model, provider).observe(call.first_token_at - call.received_at)
        if call.error is not None:
            self._metrics.failures.child(call.error.code, endpoint).inc()
            if call.error.code == "client_gone":
                self._gone.inc()

    def _count_attempt(self, outcome: Outcome) -> None:
        labels = (outcome.target.provider, outcome.code)
        children = self._attempts.get(labels)
        if children is None:
            children = self._attempts[labels] = (
                self._metrics.attempts.child(*labels),
                self._metrics.attempt_duration.child(labels[0]),
            )
        children[0].inc()
        children[1].observe(outcome.duration_s)


def _record(
    call: Call, target: Target | None, total_s: float, upstream_s: float, story: Sequence[Attempt]
) -> FinishedRequest:
    outcomes = call.outcomes
    usage = outcomes[-1].usage if outcomes else None
    client_id = call.client_request_id
    key, error = call.key, call.error
    # By position: by name it takes twice as long, and this is made for every request.
    record = FinishedRequest(
        call.request_id,
        call.endpoint.name,
        call.status,
        call.started_us / 1e6,
        total_s * 1000,
        None if client_id is None else client_id.decode("ascii"),
        call.asked_model,
        target.provider if target is not None else None,
        target.model if target is not None else None,
        None if error is None else error.code,
        len(outcomes),
        story,
        call.stream,
        upstream_s * 1000,
        max(call.cost_nano_usd, 0),
        key.id if key is not None else None,
        call.client_ip,
    )
    if usage is not None:
        record.prompt_tokens = usage.prompt
        record.completion_tokens = usage.completion
        record.cached_tokens = usage.cached
        record.reasoning_tokens = usage.reasoning
    if call.first_token_at:
        record.ttft_ms = (call.first_token_at - call.received_at) * 1000
    if call.once is not None:
        record.replayed = call.once.replayed
    if isinstance(call.trace, Trace):
        record.trace = call.trace
    return record


def _story(call: Call) -> list[Attempt]:
    """What each attempt came to, on the wall clock."""
    return [
        Attempt(
            provider=outcome.target.provider,
            target=outcome.target.name,
            outcome=outcome.code,
            started_at=call.started_us / 1e6 + outcome.started_at - call.received_at,
            duration_ms=outcome.duration_s * 1000,
            model=outcome.target.model,
            status=outcome.status,
            gen_ai_provider=outcome.target.account.type,
            server_address=urlsplit(outcome.target.account.base_url).hostname,
            server_port=urlsplit(outcome.target.account.base_url).port,
            span_id=outcome.span_id,
        )
        for outcome in call.outcomes
    ]
