"""A descriptor that is slow, full, closed or shared must not hold the gateway up."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from gateway.metrics import Metrics
from gateway.server import line_sink
from gateway.server.line_sink import LineSink


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.in_memory()


def read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


async def test_the_lines_of_a_tick_leave_in_one_write(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    sink = LineSink(write, metrics.log_lines_dropped.child())
    writes: list[bytes] = []
    real = os.write
    monkeypatch.setattr("os.write", lambda fd, data: (writes.append(data), real(fd, data))[1])
    for n in range(10):
        sink.write(b"line %d\n" % n)
    assert not writes
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writes == [b"".join(b"line %d\n" % n for n in range(10))]
    sink.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("reopens", [True, False])
async def test_a_reader_that_does_not_read_costs_lines_not_time(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, reopens: bool
) -> None:
    read, write = os.pipe()
    if not reopens:  # as where the pipe belongs to another user

        def denied(*_: object) -> int:
            raise PermissionError

        monkeypatch.setattr("os.open", denied)
    sink = LineSink(write, metrics.log_lines_dropped.child(), max_bytes=100_000)
    line = b"x" * 999 + b"\n"
    for _ in range(300):
        sink.write(line)
        await asyncio.sleep(0)  # would block for ever at 64 KiB
    dropped = metrics.total("log_lines_dropped_total")
    assert 0 < dropped < 300
    assert os.get_blocking(write), "the shared descriptor's flags are not ours to change"
    got = read_all(read)
    while not sink.flush():
        got += read_all(read)
    got += read_all(read)
    assert got == line * (300 - int(dropped)), "lines were cut or mixed"
    sink.write(b"again\n")
    sink.flush()
    assert read_all(read) == b"again\n"
    sink.close()
    os.close(read)
    os.close(write)


async def test_what_a_slow_reader_left_is_written_later_by_itself(metrics: Metrics) -> None:
    read, write = os.pipe()
    sink = LineSink(write, metrics.log_lines_dropped.child())
    for _ in range(100):
        sink.write(b"y" * 999 + b"\n")
    await asyncio.sleep(0.01)
    got = b""
    async with asyncio.timeout(10):
        while len(got) < 100_000:
            got += read_all(read)
            await asyncio.sleep(0.01)
    assert metrics.total("log_lines_dropped_total") == 0
    sink.close()
    os.close(read)
    os.close(write)


async def test_a_reader_that_is_gone_is_counted_and_forgotten(metrics: Metrics) -> None:
    read, write = os.pipe()
    sink = LineSink(write, metrics.log_lines_dropped.child())
    os.close(read)
    for _ in range(3):
        sink.write(b"nobody reads this\n")
    sink.flush()
    assert metrics.total("log_lines_dropped_total") == 3
    sink.close()
    os.close(write)


def test_a_descriptor_that_was_never_open_does_no_harm(metrics: Metrics) -> None:
    sink = LineSink(987, metrics.log_lines_dropped.child())
    sink.write_now(b"x\n")
    sink.close()
    sink.write_now(b"x\n")
    assert metrics.total("log_lines_dropped_total") == 2


def test_a_line_longer_than_the_atomic_size_is_written_whole(metrics: Metrics) -> None:
    read, write = os.pipe()
    sink = LineSink(write, metrics.log_lines_dropped.child())
    sink.write_now(b"z" * 10_000 + b"\n")
    assert read_all(read) == b"z" * 10_000 + b"\n"
    sink.close()
    os.close(read)
    os.close(write)


def test_a_file_is_appended_to(metrics: Metrics, tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"before\n")
    sink = LineSink(fd, metrics.log_lines_dropped.child())
    sink.write_now(b"ours\n")
    os.write(fd, b"after\n")
    sink.close()
    os.close(fd)
    assert path.read_bytes() == b"before\nours\nafter\n"


def test_a_full_disk_loses_lines_but_not_the_log(
    metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    sink = LineSink(fd, metrics.log_lines_dropped.child())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        sink.write_now(b"lost\n")
    sink.write_now(b"kept\n")
    sink.close()
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"kept\n"
    assert metrics.total("log_lines_dropped_total") == 1


def test_a_socket_is_written_without_waiting(metrics: Metrics) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = LineSink(ours.fileno(), metrics.log_lines_dropped.child(), max_bytes=10_000)
        for _ in range(2000):
            sink.write_now(b"w" * 999 + b"\n")  # nobody reads: would block
        assert metrics.total("log_lines_dropped_total") > 0
        assert theirs.recv(5) == b"wwwww"
        sink.close()


def test_lines_from_several_threads_are_never_mixed(metrics: Metrics, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    sink = LineSink(fd, metrics.log_lines_dropped.child(), max_bytes=1 << 24)
    threads = [
        threading.Thread(target=lambda c=c: [sink.write_now(c * 50 + b"\n") for _ in range(500)])
        for c in (b"a", b"b", b"c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    os.close(fd)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert sorted(set(lines)) == [b"a" * 50, b"b" * 50, b"c" * 50]
    assert len(lines) == 1500


def test_a_line_logged_from_within_a_write_is_not_lost(
    metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    sink = LineSink(fd, metrics.log_lines_dropped.child())
    real = os.write

    def collected(to: int, data: bytes) -> int:
        if data == b"outer\n":
            sink.write_now(b"inner\n")  # as the garbage collector's would be
        return real(to, data)

    monkeypatch.setattr(line_sink.os, "write", collected)
    sink.write_now(b"outer\n")
    sink.close()
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"outer\ninner\n"
