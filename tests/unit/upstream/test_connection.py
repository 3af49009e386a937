"""A connection on a transport of our own: what a real socket only does when the timing is unlucky."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection, Headers, Limits, Origin

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMITS = Limits(1.0, 2.0, 3.0, 10.0)
HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n"
ORIGIN = Origin.parse("http://llm.example:8000")


class Wire:
    """A transport that writes into a list, or keeps what is written when `stuck`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.written: list[bytes] = []
        self.stuck = False
        self.queued = 0
        self.aborted = self.paused = False

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self._socket

    def write(self, data: bytes) -> None:
        if self.stuck:
            self.queued += len(data)
        else:
            self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.queued

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class FakeOwner:
    """Notes what a pool would be told."""

    def __init__(self) -> None:
        self.sweeping = False
        self.released = self.ended = 0

    def sweep_soon(self) -> None:
        self.sweeping = True

    def write_soon(self, connection: Connection) -> None:
        connection.write_now()

    def release(self, connection: Connection) -> None:
        self.released += 1

    def closed(self, connection: Connection) -> None:
        self.ended += 1

    def lost(self, connection: Connection) -> None:
        pass


class Log:
    """A receiver that notes its calls; `on` may do something in one of them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.on: dict[str, Any] = {}

    def _note(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name in self.on:
            self.on[name]()

    def on_head(self, status: int, headers: Headers) -> None:
        self._note("head", status)

    def on_body(self, data: bytes) -> None:
        self._note("body", data)

    def on_end(self) -> None:
        self._note("end", None)

    def on_failure(self, error: GatewayError) -> None:
        assert type(error) is GatewayError
        self._note("failure", error.code)


class Line:
    """A connection with its wire and owner."""

    def __init__(self, sock: socket.socket) -> None:
        self.wire, self.owner = Wire(sock), FakeOwner()
        self.connection = Connection(ORIGIN, self.owner)
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]
        self.log = Log()

    def send(self, body: bytes = b"{}") -> None:
        self.connection.send(HEAD, body, self.log, LIMITS, 100.0)


@pytest.fixture(scope="module")
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


@pytest.fixture
def line(sock: socket.socket) -> Line:
    return Line(sock)


def test_a_small_request_is_one_write_and_a_clean_answer_releases_the_connection_before_the_end(line: Line) -> None:
    line.log.on["end"] = lambda: line.log.calls.append(("released", line.owner.released))
    line.send()
    assert line.wire.written == [HEAD + b"{}"]
    line.connection.data_received(OK)
    assert line.log.calls == [("head", 200), ("body", b"ok"), ("end", None), ("released", 1)]
    assert line.owner.sweeping


def test_a_receiver_may_send_its_next_request_from_on_end(line: Line) -> None:
    second = Log()
    line.log.on["end"] = lambda: line.connection.send(HEAD, b"{}", second, LIMITS, 100.0)
    line.send()
    line.connection.data_received(OK)
    line.connection.data_received(OK.replace(b"ok", b"no"))
    assert line.log.calls == [("head", 200), ("body", b"ok"), ("end", None)]
    assert second.calls == [("head", 200), ("body", b"no"), ("end", None)]


@pytest.mark.parametrize("moment", ["head", "body"])
def test_a_receiver_that_aborts_hears_nothing_more(line: Line, moment: str) -> None:
    line.log.on[moment] = line.connection.abort
    line.send()
    line.connection.data_received(OK)
    line.connection.connection_lost(None)
    assert line.log.calls[-1][0] == moment
    assert line.wire.aborted
    assert (line.owner.released, line.owner.ended) == (0, 1)


@pytest.mark.parametrize("moment", ["head", "body"])
def test_a_receiver_that_breaks_is_told_so_and_its_connection_is_not_reused(line: Line, moment: str) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    line.log.on[moment] = broken
    line.send()
    with pytest.raises(ZeroDivisionError):
        line.connection.data_received(OK)
    assert line.log.calls[-1] == ("failure", "internal_error")
    assert (line.owner.released, line.owner.ended) == (0, 1)


def test_an_answer_to_a_request_of_which_nothing_is_written_is_bad(line: Line) -> None:
    line.wire.stuck = True
    line.send()
    line.connection.data_received(OK)
    assert line.log.calls == [("failure", "upstream_bad_answer")]
    assert (line.owner.released, line.owner.ended) == (0, 1)


def test_an_answer_to_a_half_written_request_is_heard_but_its_connection_is_not_reused(line: Line) -> None:
    line.send()
    line.wire.queued = 1
    line.connection.data_received(OK[:10])
    line.wire.queued = 0
    line.connection.data_received(OK[10:])
    assert line.log.calls[-1] == ("end", None)
    assert (line.owner.released, line.owner.ended) == (0, 1)


def test_an_end_before_anything_was_written_is_a_reset_before_the_write(line: Line) -> None:
    line.wire.stuck = True
    line.send()
    line.connection.eof_received()
    line.connection.connection_lost(None)
    assert line.log.calls == [("failure", "upstream_reset_before_write")]


def test_an_end_after_a_part_was_written_may_have_been_sent(line: Line) -> None:
    line.wire.stuck = True
    line.send()
    line.wire.queued -= 1
    line.connection.eof_received()
    assert line.log.calls == [("failure", "upstream_reset_after_write")]


def test_bytes_for_nobody_end_the_connection(line: Line) -> None:
    line.connection.data_received(b"x")
    assert line.connection.closed
    assert line.wire.aborted


def test_an_error_of_the_client_never_shows_the_peers_bytes_or_the_request(line: Line) -> None:
    shown: list[str] = []
    line.log.on_failure = lambda error: shown.append(error.message)  # type: ignore[method-assign]
    line.connection.send(b"POST / HTTP/1.1\r\nauthorization: hunter2\r\n\r\n", b"", line.log, LIMITS, 100.0)
    line.connection.data_received(b"HTTP/1.1 200 OK\r\nset-cookie: hunter2\x00\r\n\r\n")
    assert len(shown) == 1
    assert "llm.example:8000" in shown[0]
    assert "hunter2" not in shown[0]


def test_time_limits_are_measured_from_the_sweep_that_first_sees_an_exchange(line: Line) -> None:
    line.send()
    assert line.connection.tick(10.0)
    assert line.connection.tick(12.0)
    assert line.log.calls == []
    line.connection.tick(12.1)
    assert line.log.calls == [("failure", "upstream_first_byte_timeout")]
    assert not line.connection.tick(12.2)


def test_an_upload_that_moves_meets_no_limit_and_one_that_stalls_does(line: Line) -> None:
    line.wire.stuck = True
    line.connection.send_head(HEAD, line.log, LIMITS, 100.0)
    for now in range(10, 40, 2):
        line.connection.write(b"12345")
        assert line.connection.tick(float(now))
    assert line.connection.tick(40.0)
    assert line.log.calls == []
    line.connection.tick(42.0)
    assert line.log.calls == [("failure", "upstream_idle_timeout")]


_FRAGMENTS = [
    *(b"HTTP/1.1 ", b"200 OK\r\n", b"100 Continue\r\n", b"content-length: 3\r\n", b"connection: close\r\n", b"\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", OK, b"\x00"),
]


@given(st.lists(st.one_of(st.sampled_from(_FRAGMENTS), st.binary(min_size=1, max_size=20)), max_size=10), st.booleans())
def test_whatever_comes_ends_in_one_end_or_one_failure(reads: list[bytes], joined: bool) -> None:
    with socket.socket() as sock:
        line = Line(sock)
        line.send()
        for data in [b"".join(reads)] if joined and reads else reads:
            if data and not line.wire.aborted:
                line.connection.data_received(data)
        if not line.wire.aborted:
            line.connection.eof_received()
        line.connection.connection_lost(None)
    names = [name for name, _ in line.log.calls]
    assert names.count("end") + names.count("failure") == 1
    assert names[-1] in {"end", "failure"}
    assert names.count("head") <= 1
    assert line.owner.ended == 1
