"""Where end users are to be hashed, nothing that outlives a request has their names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.store.embedded import StoreAddresses
from gateway.store.valkey import Valkey
from tests.fake_openai import FakeOpenAI
from tests.integration.passthrough.conftest import MASTER, Site, serving

NAME = "ann.secretname@example.com"
MORE = """
reporting: {hash_users: true}
logging: {bodies: all, level: debug}
ledger: {copy_interval_ms: 20}
"""


async def everything(site: Site) -> str:
    """All that PostgreSQL and Valkey hold, and all files of the home, as text."""
    postgres = site.worker.postgres
    tables = await postgres.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    found = [f"{row}" for table in tables for row in await postgres.fetch(f'SELECT * FROM "{table[0]}"')]
    valkey = Valkey.connect(site.worker.ground.valkey)
    try:
        for key in await valkey.call(lambda client: client.keys("*")):
            found.append(repr(key) + repr(await valkey.call(lambda client, key=key: client.dump(key))))
    finally:
        await valkey.close()
    files = [path for path in site.home.rglob("*") if path.is_file() and "postgres" not in path.parts]
    return "\n".join([*found, *(path.read_bytes().decode(errors="replace") for path in files)])


async def test_no_store_no_log_and_no_alert_has_the_name_of_an_end_user(
    tmp_path: Path,
    provider: FakeOpenAI,
    database_url: Mapping[str, Any],
    stores: StoreAddresses,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with serving(tmp_path, provider, database_url, stores, MORE) as site:
        key = await site.key("red")
        key_id = (await site.worker.keys.find(key)).id
        budget = {"scope": "end_user", "subject": key_id, "limit_usd": 0.01, "thresholds": [1]}
        _, made, _ = await site.call("POST", "/admin/budgets", MASTER, json=budget)
        chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "user": NAME, "max_tokens": 20}
        once = {"idempotency-key": "once"}
        assert (await site.call("POST", "/v1/chat/completions", key, json=chat, headers=once))[0] == 200
        assert (await site.call("POST", "/v1/chat/completions", key, json={**chat, "stream": True}))[0] == 200
        assert (await site.call("POST", "/v1/chat/completions", key, json={**chat, "user": NAME * 20}))[0] == 400
        free = await site.key("red")
        kept = {"model": "plain", "input": "hi", "user": NAME, "metadata": {"user_id": NAME}}
        assert (await site.call("POST", "/v1/responses", free, json=kept))[0] == 200
        async with asyncio.timeout(10):
            while not await site.worker.postgres.fetchval("SELECT count(*) FROM gateway_responses"):
                await asyncio.sleep(0.02)

        path = f"/admin/budgets/{made['id']}"
        topped_up = {"amount_usd": 20, "end_user": NAME}
        assert (await site.call("POST", f"{path}/top-up", MASTER, json=topped_up))[0] == 200
        _, by_name, _ = await site.call("GET", path, MASTER, params={"end_user": NAME})
        (period,) = await site.worker.postgres.fetch("SELECT * FROM budget_periods WHERE end_user <> ''")
        _, by_hash, _ = await site.call("GET", path, MASTER, params={"end_user": period["end_user"]})
        assert by_name == by_hash
        assert by_name["current"]["topped_up_usd"] == 20
        assert (await site.call("POST", f"{path}/reset", MASTER, json={"end_user": NAME}))[0] == 200

        (row, *_) = [row for row in await site.rows() if row["budget_period_ids"]]
        assert row["end_user"] == period["end_user"]  # one name for reports and for budgets
        stored = await everything(site)
        assert period["end_user"] in stored
        assert NAME not in stored
        raw = await site.worker.postgres.fetch("SELECT input, response FROM gateway_responses")
        assert [NAME.encode() in each for row in raw for each in row.values()] == [False, False]
    out, err = capfd.readouterr()
    assert period["end_user"] in out + err
    assert NAME not in out + err
