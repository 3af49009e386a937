"""How long a start takes: from the command to `/readyz` answering, on a new home and on one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants import READY_PATHS, ours_command
from benchmarks.figures import Check, median
from benchmarks.plan import Plan
from benchmarks.processes import Server, clean_environment, free_port

FIRST_TARGET_S = 5.0
LATER_TARGET_S = 2.0


def measure(plan: Plan) -> dict[str, Any]:
    """Start and stop the gateway on fresh homes, twice on each: the second start finds data."""
    first: list[float] = []
    later: list[float] = []
    for number in range(plan.count(5, 1)):
        home = plan.home / f"start-{number}"
        home.mkdir()
        for times in (first, later):
            times.append(_start(plan.gateway, home, free_port()))
    plan.say(f"  first start {median(first):.2f} s, later ones {median(later):.2f} s")
    checks = [
        Check("first start, embedded databases made", median(first), "s", most=FIRST_TARGET_S),
        Check("later starts", median(later), "s", most=LATER_TARGET_S),
    ]
    return {"first_s": first, "later_s": later, "checks": [check.as_json() for check in checks]}


def _start(program: str, home: Path, port: int) -> float:
    command = [program, *ours_command(home, 9, port)]
    with Server("start", command, home=home, env=clean_environment(home)) as server:
        return server.wait_for(port, READY_PATHS["ours"])
