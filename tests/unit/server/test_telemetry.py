"""Spans of finished requests, read back from the SDK's in-memory exporter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.metrics import Metrics
from gateway.server import telemetry as telemetry_module
from gateway.server.finished import Attempt, FinishedRequest
from gateway.server.spans import otlp_exporter
from gateway.server.telemetry import Telemetry, TelemetryMissing

INCOMING = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Exported:
    """Telemetry with an exporter that keeps what it is given."""

    def __init__(self) -> None:
        self.metrics = Metrics.in_memory()
        self.exporter = InMemorySpanExporter()
        self.telemetry = Telemetry.start("gw", None, 1.0, self.metrics.spans_dropped.child(), self.exporter)

    def spans(self) -> list[ReadableSpan]:
        """Of the last flush, the request's span last."""
        self.telemetry.flush()
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def exported() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.telemetry.stop()


def finished(telemetry: Telemetry, incoming: bytes | None = INCOMING, **more: object) -> FinishedRequest:
    trace = telemetry.begin(incoming, b"vendor=x")
    first, _ = telemetry.outgoing(trace)
    second, _ = telemetry.outgoing(trace)
    record = FinishedRequest(
        "0193f0a2-1111-7000-8000-000000000000",
        "chat",
        200,
        1000.0,
        500.0,
        model="fast",
        provider="openai",
        target="openai/gpt-4o",
        attempts=2,
        attempts_log=[
            Attempt("lab", "lab/m", "upstream_429", 1000.01, 90.0, "m", 429, None, "lab.test", 9001, first),
            Attempt("az", "az/gpt-4o", "ok", 1000.125, 350.0, "gpt-4o", 200, "azure.ai.openai", "az.test", 443, second),
        ],
        stream=True,
        cost_nano_usd=1_500_000_000,
    )
    record.response_model = "gpt-4o-2024"
    record.prompt_tokens, record.completion_tokens, record.cached_tokens = 7, 9, 5
    record.ttft_ms = 250.0
    record.trace = trace
    for name, value in more.items():
        setattr(record, name, value)
    return record


def test_a_request_and_its_attempts_are_spans_of_the_clients_trace(exported: Exported) -> None:
    record = finished(exported.telemetry)
    exported.telemetry.request_finished(record)
    first, second, request = exported.spans()
    assert record.trace is not None
    assert {span.context.trace_id for span in (first, second, request)} == {0x0AF7651916CD43DD8448EB211C80319C}
    assert request.context.span_id == record.trace.span_id
    assert request.parent is not None
    assert request.parent.span_id == 0xB7AD6B7169203331
    assert request.kind is SpanKind.SERVER
    for span, attempt in zip((first, second), record.attempts_log, strict=True):
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert span.context.span_id == attempt.span_id, "the id that was sent upstream"
        assert span.kind is SpanKind.CLIENT


def test_times_are_those_of_the_request_not_of_the_export(exported: Exported) -> None:
    exported.telemetry.request_finished(finished(exported.telemetry))
    _, second, request = exported.spans()
    assert (request.start_time, request.end_time) == (1_000_000_000_000, 1_000_500_000_000)
    assert (second.start_time, second.end_time) == (1_000_125_000_000, 1_000_475_000_000)


def test_attributes_follow_the_gen_ai_conventions(exported: Exported) -> None:
    exported.telemetry.request_finished(finished(exported.telemetry))
    first, second, request = exported.spans()
    assert (first.name, second.name, request.name) == ("chat m", "chat gpt-4o", "chat fast")
    assert dict(first.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lab",
        "gen_ai.request.model": "m",
        "server.address": "lab.test",
        "server.port": 9001,
        "http.response.status_code": 429,
        "error.type": "upstream_429",
        "gateway.provider": "lab",
        "gateway.target": "lab/m",
    }
    assert dict(second.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.time_to_first_chunk": 0.125,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "server.address": "az.test",
        "server.port": 443,
        "http.response.status_code": 200,
        "gateway.provider": "az",
        "gateway.target": "az/gpt-4o",
    }
    given = dict(request.attributes or {})
    assert given["gen_ai.request.model"] == "fast"
    assert given["gen_ai.request.stream"] is True
    assert given["gateway.cost_usd"] == 1.5
    assert not any(name.startswith("gen_ai.usage") for name in given), "usage would be added up twice"
    assert request.resource.attributes["service.name"] == "gw"


def test_failed_attempts_and_server_errors_are_marked_and_clients_mistakes_are_not(exported: Exported) -> None:
    for status, code in ((502, "upstream_5xx"), (404, "model_not_found"), (200, "upstream_truncated"), (200, None)):
        exported.telemetry.request_finished(finished(exported.telemetry, status=status, code=code))
    spans = exported.spans()
    requests = [span for span in spans if span.kind is SpanKind.SERVER]
    codes = [span.status.status_code for span in requests]
    assert codes == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET]
    assert [(span.attributes or {}).get("error.type") for span in requests] == [
        "upstream_5xx",
        "model_not_found",
        "upstream_truncated",
        None,
    ]
    assert spans[0].status.status_code is StatusCode.ERROR
    assert spans[1].status.status_code is StatusCode.UNSET


def test_a_request_without_a_clients_trace_begins_one(exported: Exported) -> None:
    record = finished(exported.telemetry, None, attempts_log=[])
    exported.telemetry.request_finished(record)
    (request,) = exported.spans()
    assert record.trace is not None
    assert (request.context.trace_id, request.parent) == (record.trace.trace_id, None)
    assert (request.attributes or {})["gen_ai.usage.input_tokens"] == 7


def test_a_trace_that_is_not_sampled_leaves_no_span(exported: Exported) -> None:
    exported.telemetry.request_finished(finished(exported.telemetry, INCOMING[:-2] + b"00"))
    exported.telemetry.request_finished(finished(exported.telemetry, trace=None))
    assert exported.spans() == []


def test_what_is_sent_upstream_names_the_attempts_span(exported: Exported) -> None:
    trace = exported.telemetry.begin(INCOMING)
    span_id, header = exported.telemetry.outgoing(trace)
    assert header == b"00-0af7651916cd43dd8448eb211c80319c-%016x-01" % span_id


def test_a_record_that_makes_no_span_stops_nobody(exported: Exported) -> None:
    exported.telemetry.request_finished(finished(exported.telemetry, status="odd"))
    exported.telemetry.request_finished(finished(exported.telemetry))
    assert len(exported.spans()) == 3


def test_more_requests_than_the_thread_can_take_are_dropped_and_counted(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry_module, "_MAX_WAITING", 0)
    exported.telemetry.request_finished(finished(exported.telemetry))
    assert exported.metrics.total("spans_dropped_total") == 1


def test_a_stop_exports_what_waits() -> None:
    exported = Exported()
    exported.telemetry.request_finished(finished(exported.telemetry))
    exported.telemetry.stop()
    assert len(exported.exporter.get_finished_spans()) == 3


def test_an_endpoint_without_a_path_gets_the_usual_one() -> None:
    for given, used in (
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("http://c/otlp", "http://c/otlp"),
    ):
        exporter = otlp_exporter(given)
        assert exporter._endpoint == used  # type: ignore[attr-defined]
        exporter.shutdown()


def test_the_sdk_is_imported_only_when_telemetry_starts() -> None:
    code = "import gateway.server.telemetry, sys; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.server.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TelemetryMissing, match=r"kubechat-gateway\[otel\]"):
        Telemetry.start("gw", None, 1.0, Metrics.in_memory().spans_dropped.child())
