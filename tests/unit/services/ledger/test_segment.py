from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.services.ledger import segment as segment_module
from gateway.services.ledger.entry import end_record, start_record
from gateway.services.ledger.segment import Segment, scan, segments_of
from tests.unit.services.ledger.entries import complete, entry


def test_all_blocks_of_a_new_segment_are_allocated(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, 1, 1 << 20, durable=True)
    assert segment.path.stat().st_size == 1 << 20
    assert segment.path.stat().st_blocks * 512 >= 1 << 20
    segment.remove()
    assert segments_of(tmp_path) == []


def test_a_segment_that_cannot_be_allocated_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="full"):
        Segment.create(tmp_path, 1, 1 << 20, durable=False)
    assert list(tmp_path.iterdir()) == []


def test_a_filesystem_without_allocation_gets_zeros_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "unsupported")

    monkeypatch.setattr(segment_module.os, "posix_fallocate", unsupported)
    segment = Segment.create(tmp_path, 1, (1 << 20) + 4096, durable=False)
    assert segment.path.stat().st_blocks * 512 >= (1 << 20) + 4096
    segment.remove()


def test_pages_that_were_written_leave_the_memory_and_stay_in_the_file(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, 1, 4 << 20, durable=False)
    segment.map[: 3 << 20] = b"x" * (3 << 20)
    segment.written = (2 << 20) + 17
    segment.release()
    assert segment.released == 2 << 20
    assert segment.map[: 3 << 20] == b"x" * (3 << 20)
    assert segment.read(0, 4 << 20) == b"x" * ((2 << 20) + 17)
    segment.remove()


def test_a_segment_cut_at_any_byte_yields_the_whole_records_before_the_cut(tmp_path: Path) -> None:
    one, two = entry(1), entry(2)
    whole = [start_record(one), start_record(two), end_record(complete(one))]
    data = b"".join(whole)
    path = tmp_path / "000001.journal"
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut] + bytes(len(data) - cut + 100))
        lines = list(scan(path))
        complete_ones = next(n for n in (3, 2, 1, 0) if sum(map(len, whole[:n])) <= cut)
        assert [line.data + b"\n" for line in lines if line.intact] == whole[:complete_ones]
        assert [line.tail for line in lines if not line.intact] == (
            [True] if cut > sum(map(len, whole[:complete_ones])) else []
        )


def test_a_hole_of_zeros_hides_only_the_records_in_it(tmp_path: Path) -> None:
    ones = [entry(number) for number in range(5)]
    whole = [start_record(one) for one in ones]
    data = bytearray(b"".join(whole))
    begin = len(whole[0]) + 20
    data[begin : begin + len(whole[1])] = bytes(len(whole[1]))
    path = tmp_path / "000001.journal"
    path.write_bytes(bytes(data) + bytes(1000))
    assert [line.data + b"\n" for line in scan(path) if line.intact] == [whole[0], *whole[3:]]


def test_an_empty_file_and_one_of_zeros_hold_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000001.journal"
    path.write_bytes(b"")
    assert list(scan(path)) == []
    path.write_bytes(bytes(5000))
    assert list(scan(path)) == []
