"""Bodies that are kept for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.server.openai.spool import Spool


async def read(spool: Spool, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in spool.read(start, spool.size if end is None else end)])


@pytest.mark.parametrize("memory_bytes", [0, 10, 4096, 10_000_000])
async def test_what_was_written_is_read_however_much_of_it_lies_on_disk(tmp_path: Path, memory_bytes: int) -> None:
    spool = Spool(tmp_path / "tmp", max_bytes=5_000_000, memory_bytes=memory_bytes)
    whole = bytes(range(256)) * 8000
    for start in range(0, len(whole), 70_001):
        await spool.write(whole[start : start + 70_001])
    assert spool.size == len(whole)
    assert spool.on_disk == (memory_bytes < len(whole))
    for start, end in ((0, len(whole)), (0, 0), (5, 9), (1_000_000, 2_000_000), (len(whole) - 3, len(whole))):
        assert await read(spool, start, end) == whole[start:end]
    assert await read(spool) == whole
    spool.close()


async def test_its_file_has_no_name_and_is_gone_when_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "tmp", max_bytes=1000, memory_bytes=10)
    await spool.write(b"x" * 100)
    assert spool.on_disk
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "tmp").stat().st_mode & 0o777 == 0o700
    spool.close()
    assert not spool.on_disk
    spool.close()


async def test_it_takes_no_more_than_it_may(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=100, memory_bytes=10)
    await spool.write(b"x" * 100)
    with pytest.raises(GatewayError) as raised:
        await spool.write(b"y")
    assert raised.value.code == "body_too_large"
    assert "spool_max_mb" in raised.value.message
    spool.close()


async def test_a_disk_that_fails_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    spool = Spool(tmp_path / "file" / "tmp", max_bytes=1000, memory_bytes=10)
    with pytest.raises(GatewayError) as raised:
        await spool.write(b"x" * 100)
    assert raised.value.code == "overloaded"
    assert "file" not in raised.value.message


async def test_a_writer_that_is_cancelled_leaves_nothing_at_work(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=10_000_000, memory_bytes=10)
    work = asyncio.get_running_loop().create_task(spool.write(b"x" * 5_000_000))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    spool.close()
