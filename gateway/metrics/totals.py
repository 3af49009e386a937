"""The sums over all workers' files, and the folding of dead workers' files into one.

Files in the directory: `<worker>.<random>.bin|.keys` (slots.py), `retired.json` (the sums of folded
workers and the names folded last), `lock` (held to create or fold, never to read).

Folding writes a new `retired.json` that names the files it took in, renames it over the old one, and
only then deletes those files: at every instant each count is in exactly one place, also when the folder
is killed half-way (a reader skips a file that `retired.json` names). A reader takes `retired.json`
first, then the workers' files, and starts again when `retired.json` was replaced meanwhile.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateway.metrics.families import bounded
from gateway.metrics.slots import KEYS_HEADER, SLOT_BYTES, Slots
from gateway.metrics.table import FINGERPRINT, OTHER, SPECS, Across, Kind, Spec

_log = logging.getLogger("gateway.metrics")

# label values → slots
Rows = dict[tuple[str, ...], list[float]]
# by metric
Totals = dict[str, Rows]

_READ_TRIES: Final = 20
_PAUSE_EVERY: Final = 16


class Memory:
    """The totals of one process that shares nothing."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def read(self, pause: Callable[[], None]) -> Totals:
        """This process's values."""
        totals: Totals = {}
        _merge(totals, self._slots.series, self._slots.values, True, pause)
        return totals

    def read_gauge(self, metric: str) -> list[Rows]:
        """This process's values of a gauge, where it has any."""
        rows = self.read(lambda: None).get(metric)
        return [rows] if rows else []

    def fold(self) -> int:
        """There is nothing to fold."""
        return 0


class _Retired(NamedTuple):
    """What `retired.json` holds, and the open file that identifies it (-1: there is none)."""

    totals: Totals
    folded: frozenset[str]
    fd: int


class Directory:
    """The metrics directory that all workers of one gateway share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, _Keys] = {}
        self._one_at_a_time = threading.Lock()  # scrapes run in threads and share the keys read so far

    def create(self, worker: str) -> Slots:
        """Files for a new worker; what dead ones left is folded on the way. Raises OSError, ValueError."""
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.fold()
        with self._locked():
            return Slots.in_file(self._path, worker)

    def fold(self) -> int:
        """Fold the files of dead workers; returns how many. On a full disk they stay as they are, and count."""
        try:
            with self._one_at_a_time, self._locked():
                return self._fold()
        except OSError:
            _log.warning("the metrics of ended workers could not be folded", exc_info=True)
            return 0

    def read(self, pause: Callable[[], None]) -> Totals:
        """Sums over all workers: counters and histograms of the dead ones too, gauges of the live ones only."""
        with self._one_at_a_time:
            return self._read(pause)

    def read_gauge(self, metric: str) -> list[Rows]:
        """The values of a gauge in each live worker that has any."""
        found = []
        with self._one_at_a_time:
            for name in self._names():
                worker: Totals = {}
                self._read_worker(worker, name, lambda: None)
                if rows := worker.get(metric):  # a dead worker has no gauges
                    found.append(rows)
        return found

    def _read(self, pause: Callable[[], None]) -> Totals:
        for _ in range(_READ_TRIES):
            retired = self._read_retired()
            try:
                totals = self._read_workers(retired, pause)
                if self._still_in_force(retired):
                    return totals
            finally:
                if retired.fd >= 0:
                    os.close(retired.fd)
        with self._locked():  # somebody folds all the time: make them wait once
            retired = self._read_retired()
            if retired.fd >= 0:
                os.close(retired.fd)
            return self._read_workers(retired, pause)

    def _read_workers(self, retired: _Retired, pause: Callable[[], None]) -> Totals:
        totals = retired.totals
        names = [name for name in self._names() if name not in retired.folded]
        for name in names:
            self._read_worker(totals, name, pause)
        for gone in self._keys.keys() - set(names):
            del self._keys[gone]
        return totals

    def _names(self) -> list[str]:
        return sorted(entry.removesuffix(".bin") for entry in os.listdir(self._path) if entry.endswith(".bin"))

    def _read_worker(self, totals: Totals, name: str, pause: Callable[[], None]) -> None:
        keys = self._keys.setdefault(name, _Keys(self._path / f"{name}.keys"))
        try:
            series = keys.read()
            fd = os.open(self._path / f"{name}.bin", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # folded meanwhile: the reader starts again
        try:
            alive = not _lock_is_free(fd)
            data = os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
        values = memoryview(data[: len(data) // SLOT_BYTES * SLOT_BYTES]).cast("d")
        _merge(totals, series, values, alive, pause)

    def _fold(self) -> int:
        retired = self._read_retired()
        if retired.fd >= 0:
            os.close(retired.fd)
        self._delete(retired.folded)  # a folder that was killed may have left these
        dead = [name for name in self._names() if self._is_dead(name)]
        if not dead:
            return 0
        totals = retired.totals
        for name in dead:
            worker: Totals = {}
            self._read_worker(worker, name, lambda: None)
            _retire(totals, worker)
        self._write_retired(totals, dead)
        self._delete(dead)
        return len(dead)

    def _is_dead(self, name: str) -> bool:
        fd = os.open(self._path / f"{name}.bin", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _lock_is_free(fd)
        finally:
            os.close(fd)

    def _delete(self, names: list[str] | frozenset[str]) -> None:
        for name in names:
            (self._path / f"{name}.bin").unlink(missing_ok=True)
            (self._path / f"{name}.keys").unlink(missing_ok=True)
            self._keys.pop(name, None)

    def _read_retired(self) -> _Retired:
        try:
            fd = os.open(self._path / "retired.json", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Retired({}, frozenset(), -1)
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        try:
            held = orjson.loads(data)
            folded = frozenset(held["folded"])
            if held["table"] != FINGERPRINT:
                return _Retired({}, folded, fd)
            totals: Totals = {}
            for metric, labels, row in held["series"]:
                # orjson writes NaN and infinity as null
                totals.setdefault(metric, {})[tuple(labels)] = [value or 0.0 for value in row]
            return _Retired(totals, folded, fd)
        except (ValueError, KeyError, TypeError):
            _log.warning("the totals of ended workers are unreadable: they start again from zero")
            return _Retired({}, frozenset(), fd)

    def _write_retired(self, totals: Totals, folded: list[str]) -> None:
        series = [[metric, labels, row] for metric, rows in totals.items() for labels, row in rows.items()]
        fresh = self._path / "retired.new"
        fresh.write_bytes(orjson.dumps({"table": FINGERPRINT, "folded": folded, "series": series}))
        fresh.replace(self._path / "retired.json")

    def _still_in_force(self, retired: _Retired) -> bool:
        try:
            now = os.stat(self._path / "retired.json")
        except FileNotFoundError:
            return retired.fd < 0
        # The old file is still open, so its inode number cannot have been given to the new one.
        return retired.fd >= 0 and os.path.samestat(now, os.fstat(retired.fd))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


class _Keys:
    """The series of one worker, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._series: list[tuple[int, str, tuple[str, ...]]] = []

    def read(self) -> list[tuple[int, str, tuple[str, ...]]]:
        """(slot, metric, label values) of each series; none where the file is another table's."""
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")  # the last line may be half-written
        if newline:
            lines = whole.split(b"\n")
            if self._offset == 0 and lines.pop(0) + b"\n" != KEYS_HEADER:
                return []
            for line in lines:
                at, metric, labels = orjson.loads(line)
                self._series.append((at, metric, tuple(labels)))
            self._offset += len(whole) + 1
        return self._series


def _merge(
    totals: Totals,
    series: list[tuple[int, str, tuple[str, ...]]],
    values: memoryview[float],
    alive: bool,
    pause: Callable[[], None],
) -> None:
    """Add a worker's values to `totals`; a dead worker's gauges are left out."""
    for n, (at, metric, labels) in enumerate(series):
        if n % _PAUSE_EVERY == 0:
            pause()
        spec = SPECS[metric]
        if spec.kind is Kind.GAUGE and not alive:
            continue
        row = list(values[at : at + spec.width])
        rows = totals.setdefault(metric, {})
        have = rows.get(labels)
        rows[labels] = row if have is None else _joined(spec, have, row)


def _joined(spec: Spec, a: list[float], b: list[float]) -> list[float]:
    if spec.kind is Kind.GAUGE and spec.across is not Across.SUM:
        return [max(a[0], b[0]) if spec.across is Across.MAX else min(a[0], b[0])]
    return [x + y for x, y in zip(a, b, strict=True)]


def _retire(totals: Totals, worker: Totals) -> None:
    """Add a dead worker's totals to those kept, within each family's bound."""
    for metric, series in worker.items():
        spec = SPECS[metric]
        rows = totals.setdefault(metric, {})
        for labels, row in series.items():
            key = labels
            if key not in rows and len(rows) >= spec.cap:
                key = bounded(spec, labels)
                if key not in rows and len(rows) >= spec.hard_cap:
                    key = (OTHER,) * len(labels)
            rows[key] = _joined(spec, rows[key], row) if key in rows else row


def _lock_is_free(fd: int) -> bool:
    """Is the owner of this file dead? Shared, so that two who ask at once do not take each other for the owner."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
