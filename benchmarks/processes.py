"""Start, watch and stop the processes of a benchmark: servers, upstreams, load generators."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psutil


class Failed(Exception):
    """A process of the benchmark did not start, died, or answered wrongly; the text holds its last output."""


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """An environment without proxies, provider keys and database addresses that could sway a contestant."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {**kept, "HOME": str(home), **extra}


class Server:
    """One server process, from `start` until `stop`; use it as a context manager."""

    def __init__(self, name: str, command: list[str], *, home: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.command = command
        self.log_path = home / f"{name}.log"
        self._home = home
        self.env = env if env is not None else clean_environment(home)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self._home.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the process started (not of its children)."""
        assert self._process is not None
        return self._process.pid

    def stop(self, timeout_s: float = 20.0) -> None:
        """SIGTERM, then SIGKILL to its process group after `timeout_s`."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def check(self) -> None:
        """Raise `Failed` when the process has ended."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise Failed(f"{self.name} ended with exit status {code}; its last output:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what the process wrote."""
        return self.log_path.read_bytes()[-3000:].decode(errors="replace") if self.log_path.exists() else ""

    def wait_for(self, port: int, path: str | None, timeout_s: float = 120.0) -> float:
        """Wait until `path` answers 200 (None: until the port accepts); return the seconds it took."""
        began = time.monotonic()
        while True:
            self.check()
            if _answers(port, path):
                return time.monotonic() - began
            if time.monotonic() - began > timeout_s:
                raise Failed(f"{self.name} was not ready after {timeout_s:.0f} s; its last output:\n{self.log_tail()}")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """CPU seconds (user and system) used so far by the process and its live descendants."""
        total = 0.0
        for process in family(self.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def family(pid: int) -> list[psutil.Process]:
    """The process and all its live descendants."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _answers(port: int, path: str | None) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        if path is None:
            connection.connect()
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
