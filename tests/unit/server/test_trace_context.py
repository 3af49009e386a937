"""W3C trace context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.trace_context import TraceIds, parse_traceparent, traceparent

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"


def test_a_clients_trace_is_continued() -> None:
    ids = TraceIds(sample=0.0)
    trace = ids.begin(b"00-" + TRACE + b"-" + SPAN + b"-01", b"vendor=x")
    assert trace.trace_id == int(TRACE, 16)
    assert trace.parent_span_id == int(SPAN, 16)
    assert trace.span_id not in (0, trace.parent_span_id)
    assert trace.sampled
    assert trace.state == b"vendor=x"
    header = traceparent(trace, 0xABC)
    assert header == b"00-" + TRACE + b"-0000000000000abc-01"
    assert parse_traceparent(header) == (trace.trace_id, 0xABC, 1)


def test_a_clients_decision_not_to_sample_is_followed() -> None:
    trace = TraceIds(sample=1.0).begin(b"00-" + TRACE + b"-" + SPAN + b"-00")
    assert not trace.sampled
    assert traceparent(trace, 1).endswith(b"-00")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(b"cc-" + TRACE + b"-" + SPAN + b"-01-what-comes") is not None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00",
        b"00-" + TRACE + b"-" + SPAN + b"-01-more",
        b"ff-" + TRACE + b"-" + SPAN + b"-01",
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"00-" + TRACE.upper() + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + SPAN + b"-1",
        b"\xff" * 55,
    ],
)
def test_an_invalid_header_begins_a_new_trace_and_drops_the_state(header: bytes) -> None:
    trace = TraceIds(sample=1.0).begin(header, b"vendor=x")
    assert (trace.parent_span_id, trace.state) == (0, b"")
    assert trace.trace_id != int(TRACE, 16)


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (1.0, 1000, 1000), (0.5, 350, 650)])
def test_new_traces_are_sampled_in_the_share_asked_for(sample: float, least: int, most: int) -> None:
    ids = TraceIds(sample)
    assert least <= sum(ids.begin(None).sampled for _ in range(1000)) <= most


def test_a_tracestate_that_is_too_long_is_dropped() -> None:
    trace = TraceIds(1.0).begin(b"00-" + TRACE + b"-" + SPAN + b"-01", b"v=" + b"x" * 600)
    assert trace.state == b""


@given(st.binary(max_size=80))
def test_no_header_breaks_the_parser(header: bytes) -> None:
    parsed = parse_traceparent(header)
    assert parsed is None or (parsed[0] > 0 and parsed[1] > 0)
