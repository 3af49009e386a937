"""A hard budget under concurrency: two gateways of two workers, 400 clients, cut streams, a failing upstream."""

from __future__ import annotations

import asyncio
import time

from tests.acceptance.auditing import overruns
from tests.acceptance.governing import Clients, Site, governed_site

_LIMIT_NANO = 1_000_000_000


def test_a_hard_budget_is_used_up_and_never_exceeded() -> None:
    with governed_site() as site:
        key = site.make_key(budget={"limit_usd": "1.00", "period": "total"})["key"]
        clients = Clients([one.port for one in site.gateways], key, cut_share=0.1, stream_share=0.33)
        began = time.monotonic()
        refused_since = 0.0

        def used_up() -> bool:
            nonlocal refused_since
            refused = clients.outcomes["429"]
            if refused > 4000 and not refused_since:
                refused_since = time.monotonic()
            return bool(refused_since and time.monotonic() > refused_since + 2) or time.monotonic() > began + 60

        asyncio.run(clients.run(400, used_up))
        ledger = site.settled()
        billed = site.billed()
        served = sum(cost for calls in billed.values() for cost, _ in calls)
        assert served <= ledger <= _LIMIT_NANO
        assert ledger >= 0.97 * _LIMIT_NANO
        assert clients.outcomes["cut"] > 10
        assert clients.outcomes["200"] > 300
        costs = asyncio.run(_costs(site))
        for name, request_id in clients.done.items():
            assert costs[request_id] == sum(cost for cost, _ in billed[name])
        shown = asyncio.run(site.rows("SELECT settled_nano_usd FROM budget_periods"))
        assert [row[0] for row in shown] == [ledger]
        assert overruns(site) == 0


async def _costs(site: Site) -> dict[str, int]:
    """What each request cost, by the ledger."""
    rows = await site.rows("SELECT request_id::text, sum(cost_nano_usd)::bigint FROM usage_costs GROUP BY 1")
    return {row[0]: row[1] for row in rows}
