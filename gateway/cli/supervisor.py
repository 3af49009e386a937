"""The parent of several worker processes: starts them, replaces the dead, passes signals on.

It serves nothing itself. Workers are processes of their own program (no fork of a running loop), in
sessions of their own, so that Ctrl-C reaches them through the supervisor alone and once. They share the
port by SO_REUSEPORT, say when they are ready through a pipe, and are killed by the kernel when their
supervisor dies, however it dies.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.cli.worker_status import READY, STATUS_FD, WORKER_NAME
from gateway.metrics import Metrics
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.supervisor")

_PR_SET_PDEATHSIG: Final = 1
_REFRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits for what, in seconds.

    `ready_s`: for a worker to serve. `drain_s`: for workers to end after SIGTERM, then they are killed
    (give more than the workers' own drain time). `at_once_s`: the same after a second signal.
    A worker that lived less than `uptime_s` is replaced after a pause that doubles from `first_pause_s`
    to `longest_pause_s`.
    """

    ready_s: float = 60.0
    drain_s: float = 60.0
    at_once_s: float = 2.0
    uptime_s: float = 10.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


@dataclass(slots=True, eq=False)
class _Worker:
    name: str
    process: asyncio.subprocess.Process
    ready: bool = False
    reload_when_ready: bool = False

    def send(self, sent: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.process.returncode is not None:
            return
        try:
            # Not Process.send_signal: it polls first, and so takes the exit code of a process that has
            # just ended away from asyncio's watcher, which then reports 255 (Python 3.11).
            os.kill(self.process.pid, sent)
        except ProcessLookupError:
            return  # it has just ended


class Supervisor:
    """Keeps `workers` processes of `command` running until a signal ends them."""

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        *,
        env: Mapping[str, str],
        metrics: Metrics,
        patience: Patience | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """`env` is the workers' whole environment, to which the supervisor adds its own two variables.

        `on_ready` is called once, when every worker serves for the first time.
        """
        self._command = command
        self._count = workers
        self._env = env
        self._metrics = metrics
        self._patience = patience or Patience()
        self._on_ready = on_ready
        self._tasks = Tasks()
        self._workers: set[_Worker] = set()
        self._stop = asyncio.Event()
        self._signals = 0
        self._served = False
        self._exit_code = 0

    async def run(self) -> int:
        """Start the workers and stay until they are stopped; the exit code of the whole.

        0 when every worker drained; a worker's own code when it ended before all had ever been ready (a
        bad configuration is not tried again and again); 1 when a worker had to be killed or failed to drain.
        To be called in the main thread: the kernel kills the workers when the thread that made them ends.
        """
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        refreshing = self._tasks.spawn(self._refresh(), name="refresh metrics")
        try:
            keepers = [self._tasks.spawn(self._keep(f"w{n}"), name=f"keep w{n}") for n in range(self._count)]
            await asyncio.gather(*keepers)
        finally:
            self._kill_all()
            refreshing.cancel()
            await self._tasks.drain(timeout_s=1.0)
            for number in handled:
                loop.remove_signal_handler(number)
        return self._exit_code

    def stop(self) -> None:
        """First call: have the workers drain. Second: have them end at once."""
        self._signals += 1
        self._stop.set()
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        wait_s = self._patience.drain_s if self._signals == 1 else self._patience.at_once_s
        asyncio.get_running_loop().call_later(wait_s, self._kill_all)
        _log.info("workers are draining" if self._signals == 1 else "workers are stopped at once")

    def reload(self) -> None:
        """Have the workers reload their configuration; those that start now do so when they are ready."""
        if self._stop.is_set():
            return  # a worker that is at its very end has no handler any more, and SIGHUP would kill it
        for worker in self._workers:
            if worker.ready:
                worker.send(signal.SIGHUP)
            else:  # it may have read the old configuration, and has no handler yet
                worker.reload_when_ready = True

    def _kill_all(self) -> None:
        for worker in self._workers:
            _log.error("worker %s did not end and is killed", worker.name)
            worker.send(signal.SIGKILL)

    async def _keep(self, name: str) -> None:
        """One worker and its replacements, one after the other, until the stop."""
        loop = asyncio.get_running_loop()
        short_lives = 0
        while not self._stop.is_set():
            started = loop.time()
            served, code = await self._live(name)
            if self._stop.is_set():
                self._ended(name, code, served=served)
                return
            if not self._served and not served:
                self._give_up(name, code)
                return
            short_lives = 0 if loop.time() - started >= self._patience.uptime_s else short_lives + 1
            await self._pause(self._died(name, code, short_lives))

    async def _live(self, name: str) -> tuple[bool, int]:
        """One life of a worker: whether it ever served, and its exit code (minus the number of a signal)."""
        read_fd, write_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**self._env, STATUS_FD: str(write_fd), WORKER_NAME: name},
                pass_fds=(write_fd,),
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except OSError:  # no memory or no processes left: as if it had died at once
            _log.exception("worker %s could not be started", name)
            os.close(read_fd)
            return False, 1
        finally:
            os.close(write_fd)
        worker = _Worker(name, process)
        self._workers.add(worker)
        if self._stop.is_set():
            worker.send(signal.SIGTERM)
        try:
            if await self._is_ready(read_fd):
                self._serves(worker)
            elif process.returncode is None and not self._stop.is_set():
                worker.send(signal.SIGKILL)
            code = await process.wait()
            return worker.ready, code
        finally:
            self._workers.discard(worker)
            self._show_workers()

    async def _is_ready(self, fd: int) -> bool:
        """Wait for the worker's word on `fd`, which is closed then; False where it ends or is too slow."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(fd)
            if not answer.done():
                answer.set_result(os.read(fd, len(READY)) == READY)

        loop.add_reader(fd, readable)
        try:
            async with asyncio.timeout(self._patience.ready_s):
                return await answer
        except TimeoutError:
            _log.error("a worker was not ready after %g s", self._patience.ready_s)
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def _serves(self, worker: _Worker) -> None:
        worker.ready = True
        self._show_workers()
        _log.info("worker %s (pid %d) is ready", worker.name, worker.process.pid)
        if worker.reload_when_ready:
            worker.send(signal.SIGHUP)
        if not self._served and sum(w.ready for w in self._workers) == self._count:
            self._served = True
            if self._on_ready is not None:
                self._on_ready()

    def _died(self, name: str, code: int, short_lives: int) -> float:
        """Count and log the death; the pause before the replacement in seconds."""
        self._metrics.worker_deaths.child().inc()
        self._metrics.fold()
        pause_s = 0.0
        if short_lives:
            longest_s = self._patience.longest_pause_s
            pause_s = min(self._patience.first_pause_s * 2.0 ** min(short_lives - 1, 30), longest_s)
        _log.error("worker %s ended (%s) and is replaced in %g s", name, _how(code), pause_s)
        return pause_s

    def _ended(self, name: str, code: int, *, served: bool) -> None:
        """A worker's end after the stop was asked for; one that was not serving yet has nothing to drain."""
        if code != 0 and served:
            _log.error("worker %s did not drain (%s)", name, _how(code))
            self._exit_code = self._exit_code or 1

    def _give_up(self, name: str, code: int) -> None:
        _log.error("worker %s ended (%s) before the gateway was ready: giving up", name, _how(code))
        self._exit_code = self._exit_code or max(code, 1)
        if not self._signals:
            self.stop()

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stop.wait()
        except TimeoutError:
            return

    def _show_workers(self) -> None:
        self._metrics.workers.child().set(sum(worker.ready for worker in self._workers))

    async def _refresh(self) -> None:
        while True:
            self._metrics.refresh()
            await asyncio.sleep(_REFRESH_S)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _die_with_parent() -> Callable[[], None] | None:
    """What a new process does before its program starts, so that the kernel kills it when we die (Linux)."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return None
    parent = os.getpid()

    def set_death_signal() -> None:
        # The parent may have died before the call: nobody would be told.
        if prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0 or os.getppid() != parent:
            os._exit(1)

    return set_death_signal
