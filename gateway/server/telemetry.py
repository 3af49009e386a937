"""OpenTelemetry, the optional extra `otel`: a span for each request and one below it for each attempt.

While a request runs there are only numbers: a `Trace` from the client's `traceparent`, and a span id for
each attempt, which goes upstream. The spans are built after the end, by a thread, from the times that
the record holds. Switched off there is no `Telemetry` at all, and the SDK is not imported; the client's
trace headers then pass through as they are.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from gateway.metrics import Counter
from gateway.server.finished import FinishedRequest
from gateway.server.trace_context import Trace, TraceIds, traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from gateway.server.spans import Spans

_log = logging.getLogger("gateway.telemetry")

_MAX_WAITING: Final = 10_000
_BUILD_EVERY_S: Final = 0.5


class TelemetryMissing(RuntimeError):
    """The configuration asks for telemetry, and the extra `otel` is not installed."""


class Telemetry:
    """Trace context for requests in flight, spans for finished ones."""

    def __init__(self, spans: Spans, ids: TraceIds, dropped: Counter) -> None:
        self._spans = spans
        self._ids = ids
        self._dropped = dropped
        self._waiting: deque[FinishedRequest] = deque()
        self._stop = threading.Event()
        self._building = threading.Lock()
        self._thread = threading.Thread(target=self._build_on, name="telemetry", daemon=True)
        self._thread.start()

    @classmethod
    def start(
        cls,
        service_name: str,
        endpoint: str | None,
        sample: float,
        dropped: Counter,
        exporter: SpanExporter | None = None,
    ) -> Telemetry:
        """Start exporting to `endpoint` (OTLP over HTTP; None: as the OTEL_* environment variables say).

        `sample` (0 to 1) is the share of traces begun here that are exported; a client's decision is
        followed. `dropped` counts requests whose spans could not be recorded. `exporter` replaces OTLP.
        Raises TelemetryMissing where the SDK is not installed.
        """
        try:
            from gateway.server.spans import Spans, otlp_exporter
        except ModuleNotFoundError as error:
            raise TelemetryMissing(
                f"telemetry needs the extra: pip install 'kubechat-gateway[otel]' ({error.name} is missing)"
            ) from error
        return cls(Spans(service_name, exporter or otlp_exporter(endpoint)), TraceIds(sample), dropped)

    def begin(self, incoming: bytes | None, tracestate: bytes | None = None) -> Trace:
        """The request's place in a trace, from the client's `traceparent` and `tracestate` headers."""
        return self._ids.begin(incoming, tracestate)

    def outgoing(self, trace: Trace) -> tuple[int, bytes]:
        """A span id for the next attempt, and the `traceparent` to send upstream with it.

        `trace.state` is the `tracestate` to send along where it is not empty.
        """
        span_id = self._ids.span_id()
        return span_id, traceparent(trace, span_id)

    def request_finished(self, record: FinishedRequest) -> None:
        """Have the spans of `record` built and exported, where its trace is sampled. It must not change any more."""
        if record.trace is None or not record.trace.sampled:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._dropped.inc()
            return
        self._waiting.append(record)

    def flush(self, timeout_s: float = 5.0) -> None:
        """Build and export what waits. Blocks: call it in a thread."""
        self._build()
        self._spans.flush(timeout_s)

    def stop(self) -> None:
        """Export what waits and stop. Blocks up to the exporter's time limit: call it in a thread."""
        self._stop.set()
        self._thread.join()
        self._build()
        self._spans.shutdown()

    def _build_on(self) -> None:
        while not self._stop.wait(_BUILD_EVERY_S):
            self._build()

    def _build(self) -> None:
        with self._building:
            while self._waiting:
                record = self._waiting.popleft()
                try:
                    if record.trace is not None:
                        self._spans.add(record, record.trace)
                except Exception:
                    _log.exception("the spans of request %s could not be built", record.request_id)
