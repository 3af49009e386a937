"""Memory of one worker: idle, over a million requests, and over ten thousand streams that clients cut."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import contestants, streams
from benchmarks.contestants import Running
from benchmarks.figures import Check, growth_percent, median
from benchmarks.load import wrk
from benchmarks.plan import Plan
from benchmarks.processes import Failed, family

IDLE_TARGET_MB = 100.0
GROWTH_TARGET_PERCENT = 5.0

_CUT_AFTER_CHUNKS = 5
_CUTS_PER_S = 400


def measure(plan: Plan) -> dict[str, Any]:
    """Measure idle, under requests and under cut streams, each on a gateway freshly started."""
    with contestants.fixed_upstream(plan.home) as upstream_port, contestants.run("ours", plan, upstream_port) as ours:
        idle = _settled(ours)
        plan.say(f"  idle: {idle['rss_mb']:.1f} MB resident, {idle['pss_mb']:.1f} MB proportional")
        requests = _requests(plan, ours)
    with (
        contestants.stream_upstream(plan.home) as upstream_port,
        contestants.run("ours", plan, upstream_port, streaming=True) as ours,
    ):
        cuts = _cut_streams(plan, ours, upstream_port)
    checks = [
        Check("memory of a worker, idle", idle["rss_mb"], "MB", most=IDLE_TARGET_MB),
        Check(f"memory growth, {requests['what']}", requests["growth_percent"], "%", most=GROWTH_TARGET_PERCENT),
        Check(f"memory growth, {cuts['what']}", cuts["growth_percent"], "%", most=GROWTH_TARGET_PERCENT),
        Check("cut streams still open upstream after 1 s", cuts["still_open"], "", most=0),
    ]
    return {"idle": idle, "requests": requests, "cuts": cuts, "checks": [check.as_json() for check in checks]}


def _requests(plan: Plan, ours: Running) -> dict[str, Any]:
    """Load until the last milestone; memory is read in the pauses, at the first milestone and after the last."""
    first, last = plan.count(100_000, 10_000), plan.count(1_000_000, 40_000)
    done = 0
    curve: list[dict[str, float]] = []
    before: dict[str, float] | None = None
    while done < last or before is curve[-1]:
        load = wrk(ours, 2 if done < first else plan.choose(5, 1), plan.home)
        done += load.requests
        curve.append({"requests": done, **_settled(ours)})
        if before is None and done >= first:
            before = curve[-1]
    assert before is not None
    after = curve[-1]
    plan.say(f"  {before['rss_mb']:.1f} MB after {before['requests']:,} requests, {after['rss_mb']:.1f} after {done:,}")
    return {
        "what": f"request {first:,} to {last:,}",
        "growth_percent": growth_percent(before["rss_mb"], after["rss_mb"]),
        "before": before,
        "after": after,
        "curve": curve,
    }


def _cut_streams(plan: Plan, ours: Running, upstream_port: int) -> dict[str, Any]:
    """Cut streams in mid-flow; the first tenth fills pools and caches and is the baseline."""
    total = plan.count(10_000, 1_000)
    first = total // 10
    cut = _cut(ours, first)
    before = _settled(ours)
    cut += _cut(ours, total)
    time.sleep(1)
    still_open = streams.stats(upstream_port)["open"]
    after = _settled(ours)
    plan.say(f"  {before['rss_mb']:.1f} MB after {first:,} cut streams, {after['rss_mb']:.1f} after {cut:,}")
    return {
        "what": f"{total:,} cut streams",
        "growth_percent": growth_percent(before["rss_mb"], after["rss_mb"]),
        "before": before,
        "after": after,
        "cut": cut,
        "still_open": still_open,
    }


def _cut(ours: Running, count: int) -> int:
    """Begin `count` streams, some hundred a second, each cut by its client after five chunks."""
    result = streams.client(
        ours.port,
        ours.headers,
        streams=count,
        chunks=400,
        spread_s=count / _CUTS_PER_S,
        cut_after=_CUT_AFTER_CHUNKS,
    )
    ours.server.check()
    if result["cut"] != count:
        raise Failed(f"{result['failed']} of {count} streams failed before they were cut: {result['troubles']}")
    return count


def _settled(running: Running) -> dict[str, float]:
    """Memory two seconds after the load: the median of a few readings, in megabytes."""
    time.sleep(2)
    readings = []
    for _ in range(5):
        readings.append(worker_memory(running.server.pid))
        time.sleep(0.1)
    return {name: median([reading[name] for reading in readings]) for name in readings[0]}


def worker_memory(pid: int) -> dict[str, float]:
    """Resident and proportional memory, in MB (10^6 bytes), of the largest worker under `pid`.

    A worker is a process that runs the same program as `pid` itself; the embedded databases are not.
    """
    program = psutil.Process(pid).exe()
    sizes = []
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            if process.exe() == program:
                sizes.append(rollup(Path(f"/proc/{process.pid}/smaps_rollup").read_text()))
    if not sizes:
        raise Failed("the worker is gone")
    return max(sizes, key=lambda size: size["rss_mb"])


def rollup(text: str) -> dict[str, float]:
    """Resident and proportional set size, in MB, from the text of `/proc/PID/smaps_rollup`."""
    found = {name: int(kib) * 1024 / 1e6 for name, kib in re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE)}
    return {"rss_mb": found["Rss"], "pss_mb": found["Pss"]}
