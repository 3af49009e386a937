"""What a ledger, its budgets and their counters must say after a load, whatever happened during it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.acceptance.governing import CLASS_TOKENS, Clients, Site
from tests.acceptance.served import call

_REST_S = 60.0
_WAITED_S = 0.25  # 50 ms is the longest that a request waits for the counters; a busy machine may be late
# What the gateway takes for tokens where nobody told it: a quarter of the request's bytes, with what is around the
# prompt. Half a class more or less does not matter.
_AROUND_TOKENS = 28


@dataclass(frozen=True)
class Audit:
    """The figures of one key, nano-dollars: `served` by the upstream's count, `ledger` by ours; `unknown` attempts have
    no end, `attempts` are all."""

    served: int
    ledger: int
    attempts: int
    unknown: int


def audit(site: Site, clients: Clients, key_id: str, limit_nano: int) -> Audit:
    """Wait until all is at rest and compare every book with every other."""
    await_rest(site)
    rows = asyncio.run(
        site.rows(
            "SELECT request_id::text, attempt, outcome, cost_nano_usd, input_tokens, estimated, budget_period_ids"
            " FROM usage_costs WHERE key_id = $1::uuid",
            key_id,
        )
    )
    assert len({(row["request_id"], row["attempt"]) for row in rows}) == len(rows), "an attempt is there twice"
    assert all(row["budget_period_ids"] for row in rows), "an attempt was paid from no budget"
    billed = {name: calls for name, calls in site.billed().items() if name in clients.sent}
    unknown = sum(row["outcome"] == "unknown" for row in rows)
    _compare_attempts(site, clients, rows, unknown)
    costs: Counter[str] = Counter()
    for row in rows:
        costs[row["request_id"]] += row["cost_nano_usd"]
    for name, request_id in clients.done.items():
        assert costs[request_id] == sum(cost for cost, _ in billed[name]), "a whole answer has another cost"
    served = sum(cost for calls in billed.values() for cost, _ in calls)
    ledger = sum(costs.values())
    assert served <= ledger, f"{served - ledger} nano-dollars were served and are not in the ledger"
    assert ledger <= limit_nano, f"the budget is exceeded by {ledger - limit_nano} nano-dollars"
    _compare_periods(site)
    assert overruns(site) == 0, "an attempt cost more than was set aside for it"
    return Audit(served, ledger, len(rows), unknown)


def overruns(site: Site) -> float:
    """How many attempts cost more than was set aside for them, by all gateways, those workers that died included."""
    name = b"\ngateway_reservation_exceeded_total "
    pages = [call("GET", one.url + "/metrics")[2] for one in site.gateways]
    return sum(float(page.split(name)[1].split()[0]) for page in pages)


class Window(NamedTuple):
    """Requests admitted in one minute: those that surely were, and those that came just before its beginning, and so
    were admitted in it or in the one before."""

    sure: int
    doubtful: int


def admitted_by_minute(site: Site, key_id: str) -> dict[int, Window]:
    """By minute since 1970. A request's first attempt bears the time at which it came, by the same clock as Valkey's;
    it was admitted then or a little later, for it may have waited for the counters."""
    await_rest(site)
    came = asyncio.run(
        site.rows(
            "SELECT extract(epoch FROM min(timestamp))::float8 AS at FROM usage_costs WHERE key_id = $1::uuid"
            " GROUP BY request_id",
            key_id,
        )
    )
    sure: Counter[int] = Counter()
    doubtful: Counter[int] = Counter()
    for row in came:
        minute, later = int(row["at"] // 60), int((row["at"] + _WAITED_S) // 60)
        if minute == later:
            sure[minute] += 1
        else:
            doubtful[later] += 1
    return {minute: Window(sure[minute], doubtful[minute]) for minute in sorted(sure | doubtful)}


def await_rest(site: Site) -> None:
    """Return when every journal is copied, those of dead workers too."""
    deadline = time.monotonic() + _REST_S
    while (found := sum(map(journals_of, site.homes()))) != site.workers * len(site.gateways):
        assert time.monotonic() < deadline, f"{found} journals"
        time.sleep(0.1)
    site.settled()


def journals_of(home: Path) -> int:
    """How many journals there are."""
    return sum((path / "lock").exists() for path in (home / "journal").iterdir())


def _compare_attempts(site: Site, clients: Clients, rows: list[Any], unknown: int) -> None:
    """Everything that the upstream served has a row of its size. Rows beyond that are those of attempts whose worker
    died: the upstream never saw them, or failed them, which is not billed."""
    served = Counter(
        each.prompt // CLASS_TOKENS for each in site.calls() if each.request in clients.sent and each.how != "failed"
    )
    written = Counter(
        (row["input_tokens"] - (_AROUND_TOKENS if row["estimated"] else 0)) // CLASS_TOKENS
        for row in rows
        if row["input_tokens"]
    )
    assert not served - written, f"served and not in the ledger, by class: {served - written}"
    assert (written - served).total() <= unknown, f"in the ledger and not served, by class: {written - served}"


def _compare_periods(site: Site) -> None:
    """Each budget has spent the sum of its rows, and its counter in Valkey comes to say so, with nothing held."""
    statement = (
        "SELECT p.id, p.budget_id::text AS budget, p.settled_nano_usd AS settled, (SELECT coalesce(sum("
        "cost_nano_usd), 0) FROM usage_costs WHERE p.id = ANY(budget_period_ids))::bigint AS rows"
        " FROM budget_periods AS p"
    )
    periods = asyncio.run(site.rows(statement))
    assert all(period["settled"] == period["rows"] for period in periods), periods
    client: Any = redis.Redis.from_url(site.counters, decode_responses=True)
    try:
        epoch = client.hget("{kubechat}:epoch", "id")
        for period in periods:
            name = f"{{kubechat}}:{epoch}:m:{period['budget']}:{period['id']}"
            deadline = time.monotonic() + _REST_S
            # Empty: it was lost, and nobody has asked for it since.
            while (counter := client.hgetall(name)) and _told(counter) != {"s": str(period["settled"]), "t": "0"}:
                assert time.monotonic() < deadline, f"{counter}, and the ledger says {period['settled']}"
                time.sleep(0.2)
    finally:
        client.close()


def _told(counter: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in counter.items() if name != "o"}
