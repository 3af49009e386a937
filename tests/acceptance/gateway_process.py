"""`kubechat-gateway serve` as a process, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import psutil

MASTER_KEY = "sk-kc-master-for-tests-0123456789abcdefghijklmnop"
# Where `make test` has the compiled gateway, as the image and the benchmark run it; without it, it is this checkout's.
_COMPILED = os.environ.get("COMPILED_GATEWAY")
_BUILD = {} if _COMPILED is None else {"PYTHONPATH": _COMPILED, "PYTHONSAFEPATH": "1"}
READY_S = 60.0  # a busy machine; how fast it is, is the benchmark's to say


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class GatewayProcess:
    """One gateway on a home directory; `url` is its address, `output` what it printed."""

    def __init__(
        self,
        home: Path,
        config: Path | None,
        *,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        home.mkdir(parents=True, exist_ok=True)
        self._out = home.parent / f"{home.name[-40:]}.{self.port}.out"
        self._err = self._out.with_suffix(".err")
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("GATEWAY_")}
        command = [sys.executable, "-m", "gateway", "serve", "--home", str(home)]
        command += ["--port", str(self.port), "--workers", str(workers)]
        if config is not None:
            command += ["--config", str(config)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                env={**clean, **_BUILD, "GATEWAY_MASTER_KEY": MASTER_KEY, **(env or {})},
            )

    @property
    def output(self) -> str:
        """What it printed to stdout."""
        return self._out.read_text()

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._err.read_text()

    def log_lines(self) -> list[dict[str, object]]:
        """Its structured log."""
        return [orjson.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def wait_ready(self) -> GatewayProcess:
        """Return when it has said that it serves."""
        deadline = time.monotonic() + READY_S
        while "try it:" not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"not ready: exit {self.process.returncode}\n{self.output}\n{self.log}")
            time.sleep(0.02)
        return self

    def descendants(self) -> list[psutil.Process]:
        """Every process under it: workers, PostgreSQL, Valkey."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, where it has a supervisor."""
        found = []
        for child in self.descendants():
            with contextlib.suppress(psutil.Error):
                if "serve" in child.cmdline() and "gateway" in child.cmdline():
                    found.append(child)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(timeout=READY_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(timeout=READY_S)


def gone(processes: list[psutil.Process], timeout_s: float = 20.0) -> bool:
    """Are all of them gone, or zombies, within the time?"""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        alive = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
        if not alive:
            return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def gateway(home: Path, config: Path | None, **options: object) -> Iterator[GatewayProcess]:
    """A gateway that serves, stopped at the end."""
    running = GatewayProcess(home, config, **options)  # type: ignore[arg-type]
    try:
        yield running.wait_ready()
    finally:
        if running.process.poll() is None:
            try:
                running.stop()
            except subprocess.TimeoutExpired:
                running.kill()
