"""Requests per second of one worker at 64 connections, in pairs that run right after one another."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any

from benchmarks import contestants
from benchmarks.contestants import Running
from benchmarks.figures import Check, median, pair_ratio
from benchmarks.load import CONNECTIONS, Load, wrk
from benchmarks.plan import Plan

# The gateway's targets: at least this many times the other's rate.
TARGETS = {"nginx": 0.28, "litellm": 120.0, "portkey": 10.0}


def measure(plan: Plan) -> dict[str, Any]:
    """Pair ours with each other contestant in turn; return all runs, medians, ratios and checks."""
    pairs: dict[str, list[tuple[Load, Load]]] = {}
    ready_s: dict[str, float] = {}
    with contestants.fixed_upstream(plan.home) as upstream_port, contextlib.ExitStack() as stack:
        ours = stack.enter_context(contestants.run("ours", plan, upstream_port))
        for name in plan.contestants:
            if name == "ours":
                continue
            # A peer lives only while it is measured: idle processes would take a share of a small machine.
            with contestants.run(name, plan, upstream_port) as other:
                ready_s[name] = other.ready_s
                pairs[name] = _rounds(plan, ours, other)
        ready_s["ours"] = ours.ready_s
    return _result(pairs, ready_s)


def _rounds(plan: Plan, ours: Running, other: Running) -> list[tuple[Load, Load]]:
    """Measure the two side by side, the first of a pair in turn, so that a drift of the machine cancels."""
    rounds = plan.count(7 if other.name == "nginx" else 5, 2)
    for running in (ours, other):
        # What is imported or compiled on the first requests is not what a running server costs.
        wrk(running, plan.choose(5, 1), plan.home)
    done = []
    for index in range(rounds):
        order = (ours, other) if index % 2 == 0 else (other, ours)
        loads = {}
        for running in order:
            wrk(running, plan.choose(2, 1), plan.home)
            loads[running.name] = wrk(running, plan.choose(8, 2), plan.home)
        pair = (loads[ours.name], loads[other.name])
        done.append(pair)
        plan.say(
            f"  pair {index + 1}/{rounds}: ours {pair[0].rate:,.0f}/s ({pair[0].cpu_us_per_request:.1f} µs CPU), "
            f"{other.name} {pair[1].rate:,.0f}/s: ratio {pair[0].rate / pair[1].rate:,.3f}"
        )
    return done


def _result(pairs: dict[str, list[tuple[Load, Load]]], ready_s: dict[str, float]) -> dict[str, Any]:
    ratios = {name: pair_ratio([(ours.rate, other.rate) for ours, other in runs]) for name, runs in pairs.items()}
    runs_of = {name: [other for _, other in runs] for name, runs in pairs.items()}
    runs_of["ours"] = [ours for runs in pairs.values() for ours, _ in runs]
    rates = {
        name: {
            "requests_per_s": median([load.rate for load in loads]),
            "p50_ms": median([load.p50_ms for load in loads]),
            "p99_ms": median([load.p99_ms for load in loads]),
            "cpu_us_per_request": median([load.cpu_us_per_request for load in loads]),
            "ready_s": ready_s[name],
            "runs": len(loads),
        }
        for name, loads in runs_of.items()
        if loads
    }
    checks = [Check(f"throughput: ours / {name}", ratio, "×", least=TARGETS[name]) for name, ratio in ratios.items()]
    return {
        "connections": CONNECTIONS,
        "medians": rates,
        "ratios": ratios,
        "pairs": {name: [[asdict(ours), asdict(other)] for ours, other in runs] for name, runs in pairs.items()},
        "checks": [check.as_json() for check in checks],
    }
