"""Worker processes: started, watched, replaced, stopped. The workers are real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from gateway.cli.supervisor import Patience, Supervisor
from gateway.metrics import Metrics

HERE = Path(__file__).parent
QUICK = Patience(ready_s=20, drain_s=20, uptime_s=5, first_pause_s=0.01, longest_pause_s=0.05)
LABELS = ("chat", "m", "p", "200")


class Gateway:
    """A supervisor with fake workers, running in this process."""

    def __init__(self, directory: Path, mode: str, workers: int, patience: Patience) -> None:
        self.directory = directory
        self.metrics = Metrics.open(directory / "metrics", "supervisor")
        self.ready = asyncio.Event()
        self.supervisor = Supervisor(
            [sys.executable, str(HERE / "fake_worker.py"), str(directory), mode],
            workers,
            env=dict(os.environ),
            metrics=self.metrics,
            patience=patience,
            on_ready=self.ready.set,
        )
        self.exit = asyncio.ensure_future(self.supervisor.run())

    def events(self, kind: str) -> list[tuple[str, int]]:
        """(worker name, pid) of each event of this kind."""
        path = self.directory / "events"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(name, int(pid)) for event, name, pid in lines if event == kind]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    directory: Path, mode: str = "plain", workers: int = 2, patience: Patience = QUICK
) -> AsyncIterator[Gateway]:
    gateway = Gateway(directory, mode, workers, patience)
    try:
        yield gateway
    finally:
        if not gateway.exit.done():
            gateway.supervisor.stop()
            gateway.supervisor.stop()
        await gateway.exit


async def test_all_workers_start_and_drain_and_the_exit_code_is_0(tmp_path: Path) -> None:
    async with running(tmp_path, workers=3) as gateway:
        await gateway.ready.wait()
        assert sorted(name for name, _ in gateway.events("start")) == ["w0", "w1", "w2"]
        assert gateway.metrics.total("workers") == 3
        assert gateway.metrics.total("requests_total", *LABELS) == 30
        gateway.supervisor.stop()
        assert await gateway.exit == 0
        assert len(gateway.events("term")) == 3
        assert gateway.metrics.total("workers") == 0
        assert gateway.metrics.total("worker_deaths_total") == 0


async def test_a_killed_worker_is_replaced_counted_and_its_totals_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        await gateway.ready.wait()
        name, pid = gateway.events("start")[0]
        os.kill(pid, signal.SIGKILL)
        await gateway.until(lambda: len(gateway.events("start")) == 3 and gateway.metrics.total("workers") == 2)
        assert gateway.events("start")[2][0] == name
        assert gateway.metrics.total("worker_deaths_total") == 1
        assert gateway.metrics.total("requests_total", *LABELS) == 30
        assert len(list((tmp_path / "metrics").glob("*.bin"))) == 3, "the dead worker's file was not folded"


async def test_a_dead_workers_totals_are_folded_while_its_replacement_waits(tmp_path: Path) -> None:
    async with running(tmp_path, patience=Patience(uptime_s=60, first_pause_s=60, longest_pause_s=60)) as gateway:
        await gateway.ready.wait()
        os.kill(gateway.events("start")[0][1], signal.SIGKILL)
        await gateway.until(lambda: gateway.metrics.total("worker_deaths_total") == 1)
        await gateway.until(lambda: len(list((tmp_path / "metrics").glob("*.bin"))) == 2)
        assert gateway.metrics.total("requests_total", *LABELS) == 20
        assert gateway.metrics.total("workers") == 1


async def test_a_worker_that_dies_again_and_again_is_replaced_after_growing_pauses(tmp_path: Path) -> None:
    patience = Patience(uptime_s=60, first_pause_s=0.1, longest_pause_s=0.4)
    async with running(tmp_path, "dies-at-once", workers=1, patience=patience) as gateway:
        await gateway.ready.wait()
        started = time.monotonic()
        os.kill(gateway.events("start")[0][1], signal.SIGKILL)
        await gateway.until(lambda: gateway.metrics.total("worker_deaths_total") >= 4)
        assert time.monotonic() - started >= 0.1 + 0.2 + 0.4
        gateway.supervisor.stop()
        await gateway.exit


async def test_a_first_start_that_fails_ends_everything_with_the_workers_exit_code(tmp_path: Path) -> None:
    async with running(tmp_path, "bad-config") as gateway:
        assert await gateway.exit == 2
        assert not gateway.ready.is_set()
        assert gateway.metrics.total("worker_deaths_total") == 0


async def test_a_command_that_cannot_be_run_is_a_failed_start(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, "supervisor")
    assert await Supervisor(["/no/such/program"], 2, env={}, metrics=metrics).run() == 1


async def test_a_worker_that_never_gets_ready_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "silent", patience=Patience(ready_s=1.5)) as gateway:
        assert await gateway.exit == 1
        assert not [pid for _, pid in gateway.events("start") if psutil.pid_exists(pid)]


async def test_a_second_stop_ends_workers_that_do_not_drain(tmp_path: Path) -> None:
    async with running(tmp_path, "stubborn", patience=Patience(drain_s=60, at_once_s=0.2)) as gateway:
        await gateway.ready.wait()
        gateway.supervisor.stop()
        await gateway.until(lambda: len(gateway.events("term")) == 2)
        assert not gateway.exit.done()
        gateway.supervisor.stop()
        async with asyncio.timeout(20):
            assert await gateway.exit == 1


async def test_workers_that_drain_for_too_long_are_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "stubborn", patience=Patience(drain_s=0.2)) as gateway:
        await gateway.ready.wait()
        gateway.supervisor.stop()
        async with asyncio.timeout(20):
            assert await gateway.exit == 1


async def test_a_worker_that_fails_to_drain_shows_in_the_exit_code(tmp_path: Path) -> None:
    async with running(tmp_path, "drains-badly") as gateway:
        await gateway.ready.wait()
        gateway.supervisor.stop()
        assert await gateway.exit == 1


async def test_a_stop_during_the_start_is_no_failure(tmp_path: Path) -> None:
    async with running(tmp_path, "slow-start") as gateway:
        await gateway.until(lambda: len(gateway.events("start")) == 2)
        gateway.supervisor.stop()
        assert await gateway.exit == 0


async def test_a_reload_reaches_every_worker_also_one_that_is_starting(tmp_path: Path) -> None:
    async with running(tmp_path, "slow-start") as gateway:
        await gateway.until(lambda: len(gateway.events("start")) == 2)
        gateway.supervisor.reload()
        (tmp_path / "go").touch()
        await gateway.until(lambda: len(gateway.events("reload")) == 2)
        gateway.supervisor.reload()
        await gateway.until(lambda: len(gateway.events("reload")) == 4)
        assert gateway.metrics.total("worker_deaths_total") == 0


@contextmanager
def own_process(directory: Path, mode: str = "plain") -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor in a process of its own, its workers ready."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "run_supervisor.py"), str(directory), mode], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def pids(directory: Path) -> list[int]:
    return [int(line.split()[2]) for line in (directory / "events").read_text().splitlines() if "start" in line]


def gone(pid: int) -> bool:
    """Has the process ended? A zombie has: its new parent may reap it late."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_sigterm_to_the_supervisor_drains_all_and_it_exits_0(tmp_path: Path) -> None:
    with own_process(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert all(gone(pid) for pid in pids(tmp_path))


async def test_a_reload_after_the_stop_does_not_reach_workers_that_are_ending(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        await gateway.ready.wait()
        gateway.supervisor.stop()
        while not gateway.exit.done():  # SIGHUP kills a process whose interpreter is shutting down
            gateway.supervisor.reload()
            await asyncio.sleep(0)
        assert gateway.exit.result() == 0
        assert not gateway.events("reload")


def test_ctrl_c_is_one_signal_to_the_workers_and_they_drain(tmp_path: Path) -> None:
    with own_process(tmp_path) as process:
        assert all(os.getpgid(pid) != os.getpgid(process.pid) for pid in pids(tmp_path))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert "interrupt" not in (tmp_path / "events").read_text()


def test_workers_die_with_a_supervisor_killed_by_signal_9(tmp_path: Path) -> None:
    with own_process(tmp_path, "stubborn") as process:
        workers = pids(tmp_path)
        assert len(workers) == 2
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while not all(gone(pid) for pid in workers):
            assert time.monotonic() < deadline, "a worker outlived its supervisor"
            time.sleep(0.01)
