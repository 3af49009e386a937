"""Finished requests to OpenTelemetry spans. Imports the SDK: only `telemetry.py` imports this, when it starts.

Names are those of the GenAI conventions, https://github.com/open-telemetry/semantic-conventions-genai
(read 2026-11; they are still "development"), and of the HTTP conventions for status and errors.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from gateway import __version__
from gateway.server.finished import Attempt, FinishedRequest
from gateway.server.trace_context import Trace

_NANO_PER_USD: Final = 1_000_000_000

# Our endpoints' names, where the convention has a well-known value for gen_ai.operation.name.
_OPERATIONS: Final = {
    "chat": "chat",
    "chat_completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}

_Attributes = dict[str, AttributeValue]


class _GivenIds(IdGenerator):
    """Gives out the ids that were sent upstream while the request ran."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        return True


class Spans:
    """Builds the spans of finished requests and hands them to an exporter. For one thread."""

    def __init__(self, service_name: str, exporter: SpanExporter) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not to be exported never comes here
            resource=Resource.create({"service.name": service_name, "service.version": __version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("kubechat-gateway", __version__)

    def add(self, r: FinishedRequest, trace: Trace) -> None:
        """Record the span of a request and those of its attempts."""
        operation = _OPERATIONS.get(r.endpoint, r.endpoint)
        state = TraceState.from_header([trace.state.decode("latin-1")]) if trace.state else None
        above = _context(trace.trace_id, trace.parent_span_id, state) if trace.parent_span_id else Context()
        self._ids.trace_id, self._ids.span_id = trace.trace_id, trace.span_id
        span = self._tracer.start_span(
            f"{operation} {r.model}" if r.model else operation,
            context=above,
            kind=SpanKind.SERVER,
            attributes=_request_attributes(r, operation),
            start_time=_ns(r.started_at),
        )
        # A client's mistake is not an error of the server's span; a stream that broke is.
        if r.status >= 500 or (r.status < 400 and r.code is not None):
            span.set_status(Status(StatusCode.ERROR, r.code))
        context = _context(trace.trace_id, trace.span_id, state)
        for attempt in r.attempts_log:
            self._attempt(r, attempt, operation, context, attempt is r.attempts_log[-1])
        span.end(_ns(r.started_at + r.duration_ms / 1000))

    def _attempt(self, r: FinishedRequest, a: Attempt, operation: str, context: Context, last: bool) -> None:
        self._ids.span_id = a.span_id
        model = a.model or r.model
        attributes = _attempt_attributes(a, operation, model)
        if last:
            attributes.update(_usage_attributes(r))
            if r.ttft_ms is not None:
                since_start_s = r.started_at + r.ttft_ms / 1000 - a.started_at
                attributes["gen_ai.response.time_to_first_chunk"] = max(since_start_s, 0.0)
        span: Span = self._tracer.start_span(
            f"{operation} {model}" if model else operation,
            context=context,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=_ns(a.started_at),
        )
        if a.outcome != "ok":
            span.set_status(Status(StatusCode.ERROR, a.outcome))
        span.end(_ns(a.started_at + a.duration_ms / 1000))

    def flush(self, timeout_s: float) -> None:
        """Export what is waiting."""
        self._provider.force_flush(int(timeout_s * 1000))

    def shutdown(self) -> None:
        """Export what is waiting and stop."""
        self._provider.shutdown()


def otlp_exporter(endpoint: str | None) -> SpanExporter:
    """An OTLP exporter over HTTP to `endpoint` (its path defaults to /v1/traces); None: the OTEL_* environment's."""
    if endpoint is not None and urlsplit(endpoint).path in ("", "/"):
        endpoint = endpoint.rstrip("/") + "/v1/traces"
    return OTLPSpanExporter(endpoint=endpoint)


def _request_attributes(r: FinishedRequest, operation: str) -> _Attributes:
    attributes: _Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.stream": r.stream,
        "http.response.status_code": r.status,
        "gateway.request_id": r.request_id,
        "gateway.endpoint": r.endpoint,
        "gateway.attempts": r.attempts,
        "gateway.cost_usd": r.cost_nano_usd / _NANO_PER_USD,
    }
    _put(attributes, "gen_ai.provider.name", r.attempts_log[-1].gen_ai_provider if r.attempts_log else None)
    attributes.setdefault("gen_ai.provider.name", r.provider or "gateway")
    _put(attributes, "gen_ai.request.model", r.model)
    _put(attributes, "gen_ai.response.model", r.response_model)
    _put(attributes, "error.type", r.code)
    _put(attributes, "gateway.target", r.target)
    _put(attributes, "gateway.key_id", r.key_id)
    _put(attributes, "client.address", r.client_ip)
    if not r.attempts_log:  # usage stands on one span only: backends add it up over spans
        attributes.update(_usage_attributes(r))
    return attributes


def _attempt_attributes(a: Attempt, operation: str, model: str | None) -> _Attributes:
    attributes: _Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": a.gen_ai_provider or a.provider,
        "gateway.provider": a.provider,
        "gateway.target": a.target,
    }
    _put(attributes, "gen_ai.request.model", model)
    _put(attributes, "server.address", a.server_address)
    _put(attributes, "server.port", a.server_port)
    _put(attributes, "http.response.status_code", a.status)
    if a.outcome != "ok":
        attributes["error.type"] = a.outcome
    return attributes


def _usage_attributes(r: FinishedRequest) -> _Attributes:
    attributes: _Attributes = {
        "gen_ai.usage.input_tokens": r.prompt_tokens,
        "gen_ai.usage.output_tokens": r.completion_tokens,
    }
    _put(attributes, "gen_ai.response.model", r.response_model)
    _put(attributes, "gen_ai.usage.cache_read.input_tokens", r.cached_tokens or None)
    _put(attributes, "gen_ai.usage.cache_creation.input_tokens", r.cache_write_tokens or None)
    _put(attributes, "gen_ai.usage.reasoning.output_tokens", r.reasoning_tokens or None)
    return attributes


def _put(attributes: _Attributes, name: str, value: AttributeValue | None) -> None:
    if value is not None:
        attributes[name] = value


def _context(trace_id: int, span_id: int, state: TraceState | None) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _ns(unix_s: float) -> int:
    return int(unix_s * 1_000_000_000)
