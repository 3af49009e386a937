"""What limits and budgets cost: throughput with all of them on the key, and how many requests touch a store for it."""

from __future__ import annotations

import http.client
import re
from dataclasses import asdict
from typing import Any

from benchmarks import contestants
from benchmarks.contestants import Running
from benchmarks.figures import Check, pair_ratio
from benchmarks.load import Load, wrk
from benchmarks.plan import Plan
from benchmarks.processes import Failed

RATIO_TARGET = 0.25
UNTOUCHED_TARGET = 0.95
# Every kind of limit that a key can have, and a hard budget; none is reached.
KEY: dict[str, object] = {
    "rpm": 5_000_000,
    "tpm": 2_000_000_000,
    "max_concurrency": 1000,
    "budget": {"limit_usd": 100_000, "period": "month"},
}
_WAITS = re.compile(r'^gateway_store_waits_total\{waited="(no|yes)"\} (\S+)$', re.MULTILINE)


def measure(plan: Plan) -> dict[str, Any]:
    """Requests per second beside nginx in pairs, and the share of requests that waited for no store; with checks."""
    with (
        contestants.fixed_upstream(plan.home) as port,
        contestants.run("ours", plan, port, key=KEY) as ours,
        contestants.run("nginx", plan, port) as nginx,
    ):
        for running in (ours, nginx):
            wrk(running, plan.choose(5, 1), plan.home)
        before = _waits(ours)
        pairs = [_pair(plan, ours, nginx, index) for index in range(plan.count(7, 2))]
        after = _waits(ours)
    untouched = after["no"] - before["no"]
    share = untouched / (untouched + after["yes"] - before["yes"])
    ratio = pair_ratio([(one.rate, other.rate) for one, other in pairs])
    plan.say(f"  {share:.2%} of {untouched:,.0f} requests and the rest touched no store before they were sent on")
    checks = [
        Check("with limits and a budget: ours / nginx", ratio, "×", least=RATIO_TARGET),
        Check("with limits and a budget: requests that touch no store", share, "", least=UNTOUCHED_TARGET),
    ]
    return {
        "key": KEY,
        "ratio": ratio,
        "untouched_share": share,
        "pairs": [[asdict(one), asdict(other)] for one, other in pairs],
        "checks": [check.as_json() for check in checks],
    }


def _pair(plan: Plan, ours: Running, nginx: Running, index: int) -> tuple[Load, Load]:
    loads = {}
    for running in (ours, nginx) if index % 2 == 0 else (nginx, ours):
        wrk(running, plan.choose(2, 1), plan.home)
        loads[running.name] = wrk(running, plan.choose(8, 2), plan.home)
    one, other = loads[ours.name], loads[nginx.name]
    plan.say(f"  pair {index + 1}: ours {one.rate:,.0f}/s, nginx {other.rate:,.0f}/s: {one.rate / other.rate:.3f}")
    return one, other


def _waits(running: Running) -> dict[str, float]:
    """Requests by whether they waited for a store."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = {waited: float(count) for waited, count in _WAITS.findall(text)}
    if found.keys() != {"no", "yes"}:
        raise Failed("/metrics does not say how many requests waited for a store")
    return found
