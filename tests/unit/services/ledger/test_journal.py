from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.ledger import journal as journal_module
from gateway.services.ledger.bound import Bound
from gateway.services.ledger.entry import PREFIX_BYTES, START, Entry
from gateway.services.ledger.journal import Journal, lock
from gateway.services.ledger.segment import Segment, scan, segments_of
from gateway.wire.usage import Usage
from tests.unit.services.ledger.entries import complete, entry, request_id

SMALL = 1 << 16


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal", segment_bytes=SMALL, fsync="never")
    yield opened
    opened.close()


def records(directory: Path) -> list[tuple[int, str]]:
    """The kind and the request id of each record on disk."""
    lines = [line for path in segments_of(directory) for line in scan(path)]
    assert all(line.intact for line in lines)
    return [(line.data[0], line.data[PREFIX_BYTES:].split(b"\t")[0].decode()) for line in lines]


def ended(directory: Path) -> list[str]:
    return [which for kind, which in records(directory) if kind != START]


def mark_all_copied(journal: Journal) -> None:
    for segment in journal.segments:
        segment.copied = segment.written


def test_records_are_in_the_file_as_soon_as_the_calls_return(journal: Journal) -> None:
    one = entry(1)
    journal.start(one)
    assert records(journal.directory) == [(ord("S"), request_id(1))]
    journal.end(complete(one))
    assert records(journal.directory) == [(ord("S"), request_id(1)), (ord("E"), request_id(1))]
    assert journal.open_attempts == 0


def test_a_second_end_and_an_end_without_a_start_write_nothing(journal: Journal) -> None:
    one = entry(1)
    journal.end(one)
    journal.start(one)
    journal.end(one)
    journal.end(one)
    assert ended(journal.directory) == [request_id(1)]
    assert journal.ended_rows == 1


def test_a_full_segment_is_followed_by_the_next_and_every_end_is_there(journal: Journal) -> None:
    for number in range(500):
        one = entry(number)
        journal.start(one)
        journal.end(complete(one))
    assert len(journal.segments) > 3
    assert ended(journal.directory) == [request_id(number) for number in range(500)]


def test_open_starts_move_along_so_that_the_last_segment_alone_tells_of_them(journal: Journal) -> None:
    long = [entry(number) for number in range(20)]
    for one in long:
        journal.start(one)
    for number in range(100, 600):
        one = entry(number)
        journal.start(one)
        journal.end(complete(one))
    mark_all_copied(journal)
    asyncio.run(journal.drop_copied())
    assert len(segments_of(journal.directory)) == 1
    starts = {which for kind, which in records(journal.directory) if kind == START}
    assert {one.request_id for one in long} <= starts
    for one in long:
        journal.end(complete(one))
    assert set(ended(journal.directory)) >= {one.request_id for one in long}


def test_more_open_attempts_than_a_segment_holds_make_a_larger_one(journal: Journal) -> None:
    many = [entry(number) for number in range(2000)]
    for one in many:
        journal.start(one)
    for one in many:
        journal.end(complete(one))
    assert sorted(ended(journal.directory)) == sorted(one.request_id for one in many)
    assert len(journal.segments) < 12


def test_a_full_disk_refuses_starts_and_never_the_end_of_what_was_started(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> Segment:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module.Segment, "create", no_space)
    started: list[Entry] = []

    def start_without_end() -> None:
        for number in range(10_000):
            one = entry(number)
            journal.start(one)
            started.append(one)

    with pytest.raises(GatewayError) as refused:
        start_without_end()
    assert refused.value.code == "journal_unavailable"
    for one in started:
        one.usage = Usage(*[10**18] * 10)
        one.cost_nano_usd = 10**18
        journal.end(one)
    assert sorted(ended(journal.directory)) == sorted(one.request_id for one in started)
    assert len(started) > 30
    assert journal.creation_failures == 1


class Disk:
    """A disk that is full while `full`; `tried` counts the files that were to be made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        self.tried = 0
        real = journal_module.Segment.create

        def create(*arguments: Any, **more: Any) -> Segment:
            self.tried += 1
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **more)

        monkeypatch.setattr(journal_module.Segment, "create", create)


def refused(journal: Journal) -> bool:
    """Write attempts until one is refused, at most a thousand."""
    for number in range(1000):
        one = entry(number)
        try:
            journal.start(one)
        except GatewayError:
            return True
        journal.end(complete(one))
    return False


def test_a_full_disk_is_told_of_once_and_again_only_when_there_had_been_room(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_RETRY_AFTER_FAILURE_S", 0.0)
    disk = Disk(monkeypatch)
    told: list[str] = []
    journal.on_unwritable = told.append
    assert all(refused(journal) for _ in range(3))
    assert disk.tried == journal.creation_failures == 3
    assert told == [os.strerror(errno.ENOSPC)]
    disk.full = False
    assert not refused(journal)
    disk.full = True
    assert refused(journal)
    assert len(told) == 2


def test_the_disk_is_tried_again_while_requests_keep_coming(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now)
    disk = Disk(monkeypatch)
    assert refused(journal)
    disk.full = False
    for _ in range(40):
        now += 0.1
        if not refused(journal):
            return
    pytest.fail("refused for ever")


def fill(journal: Journal, most: int) -> int:
    """Write attempts until one is not recorded, at most `most`; how many were."""
    for number in range(most):
        one = entry(number)
        journal.start(one)
        if one.offset < 0:
            return number
        journal.end(complete(one))
    return most


def test_a_full_journal_refuses_before_the_disk_is_full_and_goes_on_once_it_is_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL, fsync="never", bound=Bound(4 * SMALL))
    with pytest.raises(GatewayError) as refused:
        fill(journal, 10_000)
    assert refused.value.code == "journal_unavailable"
    assert len(journal.segments) == 4
    assert sum(path.stat().st_size for path in segments_of(journal.directory)) <= 4 * SMALL
    assert journal.bound.refused_attempts == 1
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    mark_all_copied(journal)
    journal.start(entry(1))
    journal.close()


def test_a_full_journal_may_drop_rows_instead_and_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL, fsync="never", bound=Bound(4 * SMALL, "drop"))
    written = fill(journal, 10_000)
    assert 200 < written < 10_000
    for number in range(100):
        one = entry(number)
        journal.start(one)
        journal.end(complete(one))
    assert journal.bound.dropped_rows == 101
    assert journal.ended_rows == written
    indispensable = entry(100)
    indispensable.indispensable = True
    with pytest.raises(GatewayError, match="the database does not take its rows"):
        journal.start(indispensable)
    assert (journal.bound.dropped_rows, journal.bound.refused_attempts) == (101, 1)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    mark_all_copied(journal)
    assert fill(journal, 10) == 10
    journal.close()


def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(OSError, match="space"):
        Journal(tmp_path / "journal", segment_bytes=SMALL, fsync="never")
    assert list((tmp_path / "journal").iterdir()) == []


def test_figures_that_no_column_holds_are_cut_and_written(journal: Journal) -> None:
    one = entry(1)
    journal.start(one)
    one.usage = Usage(prompt=10**500, completion=-3)
    journal.end(one)
    assert ended(journal.directory) == [request_id(1)]


async def test_the_next_segment_is_ready_before_it_is_needed(journal: Journal) -> None:
    await journal.prepare()
    assert len(segments_of(journal.directory)) == 1
    for number in range(40):
        journal.start(entry(number))
    await journal.prepare()
    assert len(segments_of(journal.directory)) == 2


def test_a_closed_journal_refuses_starts_and_ignores_ends(journal: Journal) -> None:
    one = entry(1)
    journal.start(one)
    journal.close()
    journal.end(one)
    with pytest.raises(GatewayError, match="closed"):
        journal.start(entry(2))
    assert records(journal.directory) == [(ord("S"), request_id(1))]


def test_closing_removes_a_journal_that_nobody_needs_and_keeps_every_other(tmp_path: Path) -> None:
    for state in ("empty", "copied", "uncopied", "open"):
        journal = Journal(tmp_path / state, segment_bytes=SMALL, fsync="never")
        if state != "empty":
            one = entry(1)
            journal.start(one)
            if state != "open":
                journal.end(one)
        if state in ("copied", "open"):
            mark_all_copied(journal)
        journal.close()
        assert journal.directory.exists() == (state in ("uncopied", "open")), state


def test_a_journal_is_locked_while_it_is_open_and_free_afterwards(journal: Journal) -> None:
    journal.start(entry(1))
    assert lock(journal.directory) is None
    journal.close()
    fd = lock(journal.directory)
    assert fd is not None
    os.close(fd)


async def test_calls_that_wait_for_the_disk_share_its_syncs(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    one = entry(1)
    journal.start(one)

    async def write_and_sync(number: int) -> None:
        await asyncio.sleep(0)
        journal.start(entry(number))
        written = journal.segments[-1].written
        await journal.sync()
        assert journal.segments[-1].synced >= written

    await asyncio.gather(*(write_and_sync(number) for number in range(2, 40)))
    assert 1 <= len(calls) <= 3


async def test_a_cancelled_sync_leaves_the_others_waiting(journal: Journal) -> None:
    journal.start(entry(1))
    waiting = [asyncio.get_running_loop().create_task(journal.sync()) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["CancelledError", "CancelledError", "NoneType", "NoneType"]
    assert journal.segments[-1].synced == journal.segments[-1].written


async def test_a_failing_disk_fails_every_call_that_waits_for_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.start(entry(1))
    results = await asyncio.gather(*(journal.sync() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3


def test_segments_that_wait_for_the_database_hold_no_descriptor_and_can_be_read(journal: Journal) -> None:
    for number in range(500):
        one = entry(number)
        journal.start(one)
        journal.end(complete(one))
    *waiting, current = journal.segments
    assert [segment.fd for segment in waiting] == [-1] * len(waiting)
    assert current.fd >= 0
    assert waiting[0].read(0, 1 << 20).startswith(b"S")
    segment = waiting[0]
    segment.remove()
    assert segment.fd == -1
