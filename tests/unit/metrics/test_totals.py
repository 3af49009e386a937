"""Sums over workers, live and dead; folding that neither loses nor doubles."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from gateway.metrics import Metrics
from gateway.metrics.table import SPECS
from gateway.metrics.totals import Directory

LABELS = ("chat", "m", "p", "200")


@contextmanager
def worker_process(directory: Path, name: str, work: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, past its counting."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.metrics.worker", str(directory), name, work], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_scrape_of_any_worker_shows_the_sum_of_all(tmp_path: Path) -> None:
    a, b = Metrics.open(tmp_path, "a"), Metrics.open(tmp_path, "b")
    a.requests.child(*LABELS).inc(2)
    b.requests.child(*LABELS).inc(3)
    a.request_duration.child("chat", "m").observe(0.3)
    b.request_duration.child("chat", "m").observe(400)
    assert a.render() == b.render()
    text = a.render()[0].decode()
    assert 'gateway_requests_total{endpoint="chat",model="m",provider="p",status="200"} 5.0' in text
    assert 'gateway_request_duration_seconds_count{endpoint="chat",model="m"} 2.0' in text
    assert 'gateway_request_duration_seconds_sum{endpoint="chat",model="m"} 400.3' in text


def test_gauges_are_joined_as_the_table_says(tmp_path: Path) -> None:
    a, b = Metrics.open(tmp_path, "a"), Metrics.open(tmp_path, "b")
    for metrics, n in ((a, 1), (b, 2)):
        metrics.streams_open.child().set(n)
        metrics.breaker_state.child("p", "t").set(n)
        metrics.store_up.child("postgres").set(n)
    assert a.total("streams_open") == 3
    assert a.total("breaker_state", "p", "t") == 2
    assert a.total("store_up", "postgres") == 1


def test_a_series_made_after_the_first_scrape_is_seen(tmp_path: Path) -> None:
    a, b = Metrics.open(tmp_path, "a"), Metrics.open(tmp_path, "b")
    assert a.total("fallbacks_total", "m") == 0
    b.fallbacks.child("m").inc()
    assert a.total("fallbacks_total", "m") == 1


def test_a_worker_killed_with_signal_9_keeps_its_totals_but_not_its_gauges(tmp_path: Path) -> None:
    survivor = Metrics.open(tmp_path, "survivor")
    with worker_process(tmp_path, "victim", "1000") as victim:
        assert survivor.total("streams_open") == 4
        victim.kill()
        victim.wait()
    assert survivor.total("requests_total", *LABELS) == 1000
    assert survivor.total("streams_open") == 0
    assert survivor.fold() == 1
    assert survivor.total("requests_total", *LABELS) == 1000
    assert 'gateway_request_duration_seconds_count{endpoint="chat",model="m"} 1000.0' in survivor.render()[0].decode()
    assert [path.name.partition(".")[0] for path in tmp_path.glob("*.bin")] == ["survivor"]
    assert survivor.fold() == 0


def test_a_new_start_takes_over_what_all_dead_workers_counted(tmp_path: Path) -> None:
    for n in range(3):
        metrics = Metrics.open(tmp_path, "only")
        metrics.requests.child(*LABELS).inc()
        assert metrics.total("requests_total", *LABELS) == n + 1
        metrics.close()
    assert len(list(tmp_path.glob("*.bin"))) == 1


def test_a_folder_killed_before_it_deleted_the_files_does_not_double_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Metrics.open(tmp_path, "dead")
    dead.requests.child(*LABELS).inc(5)
    dead.close()
    with monkeypatch.context() as patch:
        patch.setattr(Directory, "_delete", lambda *_: None)
        Directory(tmp_path).fold()
    assert len(list(tmp_path.glob("dead.*"))) == 2
    live = Metrics.open(tmp_path, "live")
    assert live.total("requests_total", *LABELS) == 5
    assert not list(tmp_path.glob("dead.*"))


def test_a_fold_that_finds_the_disk_full_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, live = Metrics.open(tmp_path, "dead"), Metrics.open(tmp_path, "live")
    dead.requests.child(*LABELS).inc(5)
    dead.close()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert live.fold() == 0
    assert live.total("requests_total", *LABELS) == 5
    assert live.fold() == 1


def test_totals_hold_still_while_other_processes_fold_and_workers_come_and_go(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, "reader")
    mine = metrics.requests.child(*LABELS)
    seen: list[float] = []
    stop = threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            seen.append(metrics.total("requests_total", *LABELS))

    with worker_process(tmp_path, "f1", "fold"), worker_process(tmp_path, "f2", "fold"):
        scraper = threading.Thread(target=scrape)
        scraper.start()
        for n in range(60):
            short = Metrics.open(tmp_path, f"short{n}")
            short.requests.child(*LABELS).inc(10)
            mine.inc()
            short.close()
        stop.set()
        scraper.join()
    assert len(seen) > 10
    assert seen == sorted(seen), "a total fell: something was lost for a moment, or counted twice before"
    assert metrics.total("requests_total", *LABELS) == 60 * 11


def test_a_reader_that_looks_at_a_dead_workers_file_does_not_make_it_seem_alive(tmp_path: Path) -> None:
    dead, live = Metrics.open(tmp_path, "dead"), Metrics.open(tmp_path, "live")
    dead.close()
    with next(tmp_path.glob("dead.*.bin")).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a scrape does for a moment
        assert live.fold() == 1


def test_readings_at_the_same_time_take_each_key_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, other = Metrics.open(tmp_path, "a"), Metrics.open(tmp_path, "b")
    for n in range(20):
        other.fallbacks.child(f"m{n}").inc()

    def slowly(data: bytes) -> object:
        time.sleep(0.001)
        return orjson.loads(data)

    monkeypatch.setattr("gateway.metrics.totals.orjson", SimpleNamespace(loads=slowly))
    threads = [threading.Thread(target=metrics.total, args=("fallbacks_total", "m0")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.total("fallbacks_total", "m0") == 1


def test_series_of_dead_workers_stay_bounded(tmp_path: Path) -> None:
    spec = SPECS["fallbacks_total"]
    for generation in range(3):
        metrics = Metrics.open(tmp_path, "w")
        for n in range(spec.cap):
            metrics.fallbacks.child(f"g{generation}-{n}").inc()
        metrics.close()
    metrics = Metrics.open(tmp_path, "w")
    rows = metrics._source.read(lambda: None)["fallbacks_total"]
    assert len(rows) <= spec.hard_cap + 1
    assert sum(row[0] for row in rows.values()) == spec.cap * 3


def test_files_of_a_gateway_with_another_table_are_not_misread(tmp_path: Path) -> None:
    old = Metrics.open(tmp_path, "old")
    old.requests.child(*LABELS).inc(5)
    keys = next(tmp_path.glob("old.*.keys"))
    keys.write_bytes(b'["gateway-metrics","00000000"]\n' + keys.read_bytes().partition(b"\n")[2])
    old.close()
    assert Metrics.open(tmp_path, "new").total("requests_total", *LABELS) == 0


def test_a_half_written_key_and_an_unreadable_fold_do_no_harm(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, "w")
    metrics.requests.child(*LABELS).inc(5)
    with next(tmp_path.glob("w.*.keys")).open("ab") as keys:
        keys.write(b'[99,"fallb')
    (tmp_path / "retired.json").write_bytes(b"{not json")
    assert metrics.total("requests_total", *LABELS) == 5


@pytest.mark.parametrize("name", ["", "../w", "a b", "a.b"])
def test_a_worker_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="worker name"):
        Metrics.open(tmp_path, name)


def test_a_full_disk_is_an_error_at_the_start_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Metrics.open(tmp_path, "w")
    assert not list(tmp_path.glob("w.*"))
