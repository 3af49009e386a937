"""Streams of 20 chunks a second: 500 and 1,000 at once through one worker, against the same load sent directly."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks import contestants
from benchmarks.contestants import Running
from benchmarks.figures import Check, median, pair_difference
from benchmarks.plan import Plan
from benchmarks.processes import Failed
from benchmarks.stream_format import PERIOD_S

FIRST_TOKEN_TARGET_MS = 50.0
BEHIND_TARGET_S = 0.5

# Real streams do not all begin in one millisecond: theirs are spread evenly over this long.
SPREAD_S = 2.0
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Case:
    """So many streams at once, begun evenly over `spread_s`."""

    label: str
    streams: int
    spread_s: float
    pairs: int


def measure(plan: Plan) -> dict[str, Any]:
    """Run every case directly and through ours (and once through nginx); return figures and checks."""
    cases = [
        Case("500 streams", 500, SPREAD_S, plan.count(5, 1)),
        Case("1,000 streams", 1000, SPREAD_S, plan.count(5, 1)),
        Case("500 streams, all begun at once", 500, 0.0, plan.count(3, 1)),
        Case("1,000 streams, all begun at once", 1000, 0.0, plan.count(3, 1)),
    ]
    results: dict[str, Any] = {}
    with contestants.stream_upstream(plan.home) as upstream_port:
        with contestants.run("ours", plan, upstream_port, streaming=True) as ours:
            for case in cases:
                results[case.label] = _case(plan, case, ours, upstream_port)
        if "nginx" in plan.contestants:
            with contestants.run("nginx", plan, upstream_port, streaming=True) as proxy:
                for case in cases:
                    results[case.label]["nginx"] = _one(plan, case, upstream_port, proxy)
    return {"spread_s": SPREAD_S, "cases": results, "checks": [check.as_json() for check in _checks(results)]}


def _checks(results: dict[str, Any]) -> list[Check]:
    half, full = results["500 streams"], results["1,000 streams"]
    incomplete = sum(case["streams"] - case["complete"] for case in results.values())
    return [
        Check(
            "500 streams: added time to first token, p99",
            half["added_first_token_p99_ms"],
            "ms",
            most=FIRST_TOKEN_TARGET_MS,
        ),
        Check("all streams of all cases: not delivered byte for byte", incomplete, "", most=0),
        Check("1,000 streams: the chunk furthest behind", full["behind_max_s"], "s", most=BEHIND_TARGET_S),
    ]


def _case(plan: Plan, case: Case, ours: Running, upstream_port: int) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    direct_runs: list[dict[str, Any]] = []
    for index in range(case.pairs):
        order: list[Running | None] = [None, ours] if index % 2 == 0 else [ours, None]
        for running in order:
            result = _one(plan, case, upstream_port, running)
            (direct_runs if running is None else runs).append(result)
        through, direct = runs[-1], direct_runs[-1]
        plan.say(
            f"  {case.label}, pair {index + 1}/{case.pairs}: first token p99 {through['first_token_ms']['p99']:.1f} ms "
            f"(direct {direct['first_token_ms']['p99']:.1f}), furthest behind {through['behind_ms']['max']:.0f} ms, "
            f"{through['cores']:.2f} cores, {through['failed']} failed"
        )
    pairs = list(zip(runs, direct_runs, strict=True))
    return {
        "added_first_token_p50_ms": _added(pairs, "first_token_ms", "p50"),
        "added_first_token_p99_ms": _added(pairs, "first_token_ms", "p99"),
        "added_behind_p99_ms": _added(pairs, "behind_ms", "p99"),
        "behind_max_s": max(run["behind_ms"]["max"] for run in runs) / 1e3,
        "complete": sum(run["complete"] for run in runs),
        "streams": sum(run["streams"] for run in runs),
        "cores": median([run["cores"] for run in runs]),
        "runs": runs,
        "direct_runs": direct_runs,
    }


def _added(pairs: list[tuple[dict[str, Any], dict[str, Any]]], what: str, which: str) -> float:
    return pair_difference([(through[what][which], direct[what][which]) for through, direct in pairs])


def _one(plan: Plan, case: Case, upstream_port: int, running: Running | None) -> dict[str, Any]:
    """One run of the client; None goes straight to the upstream. Ours must deliver all, else the run counts it."""
    chunks = round(plan.choose(10, 3) / PERIOD_S)
    stats(upstream_port)
    cpu_before, began = (running.server.cpu_s() if running else 0.0), time.monotonic()
    result = client(
        running.port if running else upstream_port,
        running.headers if running else {},
        streams=case.streams,
        chunks=chunks,
        spread_s=case.spread_s,
    )
    took_s = time.monotonic() - began
    if running is not None:
        running.server.check()
        result["cores"] = (running.server.cpu_s() - cpu_before) / took_s
    elif result["failed"]:
        raise Failed(f"streams sent directly to the upstream failed: {result['troubles']}")
    result["upstream_late_max_ms"] = stats(upstream_port)["late_max_s"] * 1e3
    if result["failed"]:
        plan.say(f"  {result['failed']} of {case.streams} streams failed, such as: {result['troubles'][0][:500]}")
    if result["complete"] == 0:
        raise Failed(f"not one stream was delivered: {result['troubles']}")
    return result


def client(
    port: int,
    headers: dict[str, str],
    *,
    streams: int,
    chunks: int,
    spread_s: float,
    cut_after: int = 0,
    translated: bool = False,
) -> dict[str, Any]:
    """Run `benchmarks.stream_client` in a process of its own and return what it prints."""
    options = {"port": port, "headers": headers, "streams": streams, "chunks": chunks, "spread_s": spread_s}
    argument = orjson.dumps({**options, "cut_after": cut_after, "translated": translated}).decode()
    command = [sys.executable, "-m", "benchmarks.stream_client", argument]
    limit_s = chunks * PERIOD_S + spread_s + 90
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=limit_s)
    if done.returncode != 0 or not done.stdout:
        raise Failed(f"the stream client failed: {done.stderr[-2000:].decode(errors='replace')}")
    result: dict[str, Any] = orjson.loads(done.stdout)
    return result


def stats(upstream_port: int) -> dict[str, Any]:
    """The stream upstream's own account; its lateness begins anew."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=30)
    try:
        connection.request("GET", "/stats")
        result: dict[str, Any] = orjson.loads(connection.getresponse().read())
        return result
    finally:
        connection.close()
