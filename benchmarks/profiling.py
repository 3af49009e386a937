"""`--profile ours`: load one contestant and say where its time goes (py-spy), for whoever optimises it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks import contestants, install, streams
from benchmarks.load import wrk
from benchmarks.plan import Plan
from benchmarks.processes import Failed
from benchmarks.stream_format import PERIOD_S

SAMPLES_PER_S = 500

# Idle threads of a pool, which py-spy cannot always tell from busy ones.
_WAITING = ("_worker (concurrent/futures/thread.py", "wait (threading.py")


def profile(plan: Plan, name: str, kind: str, into: Path) -> list[Path]:
    """Profile `name` under `kind` of load (`requests` or `streams`); return the files written.

    Two recordings: with native frames (what the C extensions and the loop cost) as a flame graph, and
    collapsed stacks of Python alone, whose functions are also printed by their own and their total share.
    """
    seconds = round(plan.choose(20, 5))
    into.mkdir(parents=True, exist_ok=True)
    upstream = contestants.fixed_upstream if kind == "requests" else contestants.stream_upstream
    written = []
    with (
        upstream(plan.home) as upstream_port,
        contestants.run(name, plan, upstream_port, streaming=kind == "streams") as running,
    ):
        for native in (False, True):
            load = threading.Thread(target=_load, args=(plan, running, kind, seconds + 4))
            load.start()
            # The recording begins once the load is up to speed.
            time.sleep(2)
            try:
                path = into / f"{name}-{kind}{'-native' if native else ''}.{'svg' if native else 'txt'}"
                _record(running.server.pid, seconds, path, native=native)
            finally:
                load.join()
            written.append(path)
    plan.say(table(written[0].read_text()))
    return written


def _load(plan: Plan, running: contestants.Running, kind: str, seconds: int) -> None:
    if kind == "requests":
        load = wrk(running, seconds, plan.home)
        plan.say(f"  {load.rate:,.0f} requests/s while being watched, {load.cpu_us_per_request:.1f} µs CPU each")
        return
    result = streams.client(
        running.port, running.headers, streams=1000, chunks=round(seconds / PERIOD_S), spread_s=streams.SPREAD_S
    )
    plan.say(f"  {result['complete']} of {result['streams']} streams complete while being watched")


def _record(pid: int, seconds: int, path: Path, *, native: bool) -> None:
    format_ = "flamegraph" if native else "raw"
    command = [str(install.py_spy()), "record", "--pid", str(pid), "--duration", str(seconds), "--format", format_]
    command += ["--rate", str(SAMPLES_PER_S), "--output", str(path), *(["--native"] if native else ["--function"])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or not path.exists():
        raise Failed(f"py-spy failed (it needs root or ptrace): {done.stderr[-1500:]}")


def shares(collapsed: str) -> list[tuple[str, float, float]]:
    """From collapsed stacks (`a;b;c 12` a line): each function's own and total share of samples, in per cent."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if frames[-1].startswith(_WAITING):
            continue
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    every = sum(own.values()) or 1
    return [(name, own[name] / every * 100, total[name] / every * 100) for name in total]


def table(collapsed: str, rows: int = 30) -> str:
    """The functions with the largest own share, as lines of text."""
    ranked = sorted(shares(collapsed), key=lambda row: row[1], reverse=True)[:rows]
    return "\n".join(
        ["    own  total  function", *(f"  {own:4.1f}%  {total:4.1f}%  {name}" for name, own, total in ranked)]
    )
