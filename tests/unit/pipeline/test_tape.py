"""A tape keeps what the client is given, up to a limit, and goes on alone when the client leaves."""

from __future__ import annotations

from gateway.pipeline.tape import Tape
from tests.unit.upstream.fakes import SSE, FakeAdmission, FakeSink


class Flow:
    """Notes whether it is to be read from."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def _started(max_bytes: int) -> tuple[Tape, FakeSink]:
    sink = FakeSink(FakeAdmission())
    tape = Tape(sink, max_bytes)
    tape.start(200, SSE)
    return tape, sink


def test_the_client_gets_all_of_it_and_the_copy_is_the_same() -> None:
    tape, sink = _started(6)
    for data in (b"one", b"", b"two"):
        tape.write(data)
    tape.end()
    assert (tape.status, tape.headers, tape.body) == (200, SSE, b"onetwo")
    assert (sink.head, sink.body, sink.ended) == ((200, SSE), b"onetwo", True)
    assert not tape.overflowed


def test_a_copy_above_the_limit_is_dropped_and_the_client_gets_all_the_same() -> None:
    tape, sink = _started(5)
    for data in (b"one", b"two", b"four"):
        tape.write(data)
    assert tape.overflowed
    assert tape.body == b""
    assert sink.body == b"onetwofour"


def test_without_its_client_the_stream_goes_on_at_its_own_pace() -> None:
    tape, sink = _started(100)
    flow = Flow()
    tape.attach(flow)
    assert sink.flow is flow
    tape.write(b"one")
    flow.pause_reading()
    stops: list[int] = []
    tape.leave(lambda: stops.append(1))
    assert sink.flow is None
    assert not flow.paused
    tape.write(b"two")
    tape.attach(None)
    tape.end()
    assert (tape.body, sink.body, sink.ended, stops) == (b"onetwo", b"one", False, [])


def test_a_stream_that_nobody_will_get_is_stopped() -> None:
    stops: list[int] = []
    late, _ = _started(5)
    late.leave(lambda: stops.append(1))
    late.write(b"one")
    assert stops == []
    late.write(b"two")
    assert stops == [1]
    early, _ = _started(5)
    early.write(b"onetwo")
    early.leave(lambda: stops.append(2))
    assert stops == [1, 2]
