"""Whoever is told what is spent of a budget is told of the period in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.store.embedded import StoreAddresses
from tests.fake_openai import FakeOpenAI
from tests.integration.passthrough.conftest import MASTER, Site, serving

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


async def told(site: Site, key: str, budget_id: str) -> tuple[float, float, float]:
    """By the admin API, by the key's own page, and by the table."""
    _, budget, _ = await site.call("GET", f"/admin/budgets/{budget_id}", MASTER)
    _, page, _ = await site.call("GET", "/v1/key", key)
    shown = await site.worker.postgres.fetchval("SELECT current_usage FROM cost_budgets")
    return budget["spent_usd"], page["budgets"][0]["spent_usd"], float(shown)


async def test_a_period_that_has_just_begun_is_told_of_as_unspent_by_all(
    tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses
) -> None:
    async with serving(tmp_path, provider, database_url, stores) as site:
        key = await site.key("red")
        subject = (await site.worker.keys.find(key)).id
        body = {"scope": "key", "subject": subject, "limit_usd": 1, "period": "total"}
        _, budget, _ = await site.call("POST", "/admin/budgets", MASTER, json=body)
        assert (await site.call("POST", "/v1/chat/completions", key, json=CHAT))[0] == 200
        assert await site.worker.ledger.flush(10)
        spent = await told(site, key, budget["id"])
        assert len(set(spent)) == 1
        assert spent[0] > 0
        # As if its end had been planned.
        await site.worker.postgres.execute("UPDATE budget_periods SET ends_at = now() + interval '3 seconds'")
    async with serving(tmp_path, provider, database_url, stores) as site:
        assert await told(site, key, budget["id"]) == spent
        ended = "SELECT now() > min(ends_at) FROM budget_periods"
        while not await site.worker.postgres.fetchval(ended):
            await asyncio.sleep(0.02)
        by_admin, by_key, _ = await told(site, key, budget["id"])
        assert (by_admin, by_key) == (0, 0)
        async with asyncio.timeout(3):
            while await told(site, key, budget["id"]) != (0, 0, 0):
                await asyncio.sleep(0.05)
        assert (await site.call("POST", "/v1/chat/completions", key, json=CHAT))[0] == 200
        assert await site.worker.ledger.flush(10)
        assert await told(site, key, budget["id"]) == spent
