"""Budgets and batches: what a batch may cost is charged while it runs, and what it cost afterwards, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.budgets.books import Books
from gateway.services.budgets.verifying import Difference, Verification
from gateway.services.quota.inspection import Inspection
from gateway.store.valkey import Valkey
from gateway.wire.usage import Usage
from tests.integration.passthrough.conftest import MASTER, Site
from tests.integration.passthrough.test_batches import (
    OFTEN,
    USAGE,
    BatchProvider,
    batch_cost,
    costs,
    make_batch,
    metered,
)
from tests.integration.passthrough.test_ownership import make_file

CAP = 1_000_000_000
COST = batch_cost("gpt-4o-mini", Usage(prompt=1000, completion=100, cached=200, reasoning=30))


@pytest.fixture
async def provider() -> AsyncIterator[BatchProvider]:
    async with BatchProvider().running() as running:
        assert isinstance(running, BatchProvider)
        yield running


async def admin(site: Site, method: str, path: str, **body: Any) -> dict[str, Any]:
    options = {"json": body} if method != "GET" else {}
    status, document, _ = await site.call(method, path, MASTER, **options)
    assert status < 300, document
    found: dict[str, Any] = document
    return found


async def budget(site: Site, scope: str, subject: str, **fields: Any) -> str:
    terms = {"limit_usd": 5, "unbounded_usd": CAP / 1e9, **fields}
    return str((await admin(site, "POST", "/admin/budgets", scope=scope, subject=subject, **terms))["id"])


async def spent(site: Site, budget_id: str, query: str = "") -> float:
    found = await admin(site, "GET", f"/admin/budgets/{budget_id}{query}")
    figure: float = found["spent_usd"]
    assert found["current"]["settled_usd"] == figure
    assert found["remaining_usd"] == pytest.approx(found["limit_usd"] - figure)
    return figure


async def shown(site: Site, budget_id: str) -> float:
    return float(
        await site.worker.postgres.fetchval("SELECT current_usage FROM cost_budgets WHERE id::text = $1", budget_id)
    )


async def differences(site: Site) -> Sequence[Difference]:
    assert await site.worker.ledger.flush(10)
    valkey = Valkey.connect(site.worker.ground.valkey)
    try:
        books = Verification(Books(site.worker.postgres), Inspection(valkey), settle_s=1.0)
        return (await books.verify(everything=True)).differences
    finally:
        await valkey.close()


async def key_with(site: Site, **fields: Any) -> tuple[str, str]:
    """A key of a team, and the budget on it."""
    token = await site.key("red", user="ann")
    found = await site.worker.keys.find(token)
    return token, await budget(site, "key", str(found.id), **fields)


async def test_all_budgets_that_paid_for_the_creation_pay_what_the_batch_cost_and_no_more(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site)
        made = await site.worker.keys.find(token)
        scopes = {"team": str(made.team_id), "user": str(made.user_id), "global": "", "provider": "lab"}
        budgets = [on_key, *[await budget(site, scope, subject) for scope, subject in scopes.items()]]
        soft = await budget(site, "key", str(made.id), hard=False)
        users = await budget(site, "end_user", str(made.id))
        body = {"input_file_id": await make_file(site, token), "endpoint": "/v1/chat/completions", "user": "bob"}
        tags = {"x-gateway-tags": "nightly"}
        status, batch, _ = await site.call("POST", "/v1/batches", token, json=body, headers=tags)
        assert status == 200, batch
        assert await site.worker.ledger.flush(10)
        assert [await spent(site, each) for each in [*budgets, soft]] == [CAP / 1e9] * 6
        assert await spent(site, users, "?end_user=bob") == CAP / 1e9
        site.provider.end(batch["id"], model="gpt-4o-mini", usage=USAGE)
        (row,) = await metered(site)
        assert row["cost_nano_usd"] == COST
        assert len(row["budget_period_ids"]) == 7
        assert [await spent(site, each) for each in [*budgets, soft]] == [COST / 1e9] * 6
        assert await spent(site, users, "?end_user=bob") == COST / 1e9
        assert [await shown(site, each) for each in budgets] == [COST / 1e9] * 5
        assert await differences(site) == []
        # Reports have it once, too, whatever they are by; what was given back is no attempt.
        for by in ("model", "tag", "key", "team"):
            usage = await admin(site, "GET", f"/admin/usage?group_by={by}&interval=total&from=2020-01-01T00:00:00Z")
            assert sum(each["cost_nano_usd"] for each in usage["data"]) == COST
            assert sum(each["attempts"] for each in usage["data"]) == 2
            assert min(each["cost_nano_usd"] for each in usage["data"]) >= 0


async def test_batches_that_run_are_charged_what_they_may_cost_so_that_many_cannot_overspend(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site, limit_usd=2.5)
        first = await make_batch(site, token)
        await make_batch(site, token)
        body = {"input_file_id": await make_file(site, token), "endpoint": "/v1/chat/completions"}
        status, refusal, _ = await site.call("POST", "/v1/batches", token, json=body)
        assert (status, refusal["error"]["code"]) == (429, "insufficient_quota")
        site.provider.end(first, model="gpt-4o-mini", usage=USAGE)
        await metered(site)
        async with asyncio.timeout(5):  # what it did not use can be spent, once the worker has heard of it
            while (await site.call("POST", "/v1/batches", token, json=body))[0] != 200:
                await asyncio.sleep(0.05)
        assert await site.worker.ledger.flush(10)
        assert await spent(site, on_key) == 2 * CAP / 1e9 + COST / 1e9
        assert (await site.call("POST", "/v1/batches", token, json=body))[0] == 429


async def test_a_batch_that_costs_more_than_was_kept_for_it_is_charged_in_full_and_alerted(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site, unbounded_usd=0.000001)
        batch = await make_batch(site, token)
        site.provider.end(batch, model="gpt-4o-mini", usage=USAGE)
        await metered(site)
        assert await spent(site, on_key) == COST / 1e9
        assert site.worker.metrics.reservation_exceeded.child().value == 1
        await site.worker.alerting.alerts.check()
        (alert,) = (await admin(site, "GET", "/admin/alerts"))["data"]
        assert (alert["kind"], alert["budget_id"]) == ("exceeded", on_key)


class Died(Exception):
    """The worker did, here."""


def _dying_after(call: Callable[..., Awaitable[None]], times: int) -> Callable[..., Awaitable[None]]:
    left = times

    async def die(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            await call(*arguments)
        if left <= 0:
            raise Died

    return die


@pytest.mark.parametrize("step", ["before the rows", "after the rows", "before the counters", "after what is released"])
async def test_a_worker_that_dies_between_the_steps_leaves_what_another_completes_once(
    site_with: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site)
        ledger, postgres = site.worker.ledger, site.worker.postgres
        batch_id = await make_batch(site, token)
        with monkeypatch.context() as dying:
            if step == "before the counters":
                dying.setattr(Books, "tell", _dying_after(Books.tell, 0))
            else:
                times = {"before the rows": 0, "after the rows": 1, "after what is released": 2}[step]
                dying.setattr(ledger, "record", _dying_after(ledger.record, times))
            site.provider.end(batch_id, model="gpt-4o-mini", usage=USAGE)
            while not await postgres.fetchval("SELECT count(*) FROM gateway_batches WHERE used IS NOT NULL"):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            assert not await postgres.fetchval("SELECT count(*) FROM gateway_batches WHERE metered_at IS NOT NULL")
            # Never less than the truth, and until the last step never less than what was kept for it.
            figure = {"before the rows": CAP, "after what is released": COST}.get(step, CAP + COST)
            assert await spent(site, on_key) == figure / 1e9
        # The dead worker's claim runs out.
        await postgres.execute("UPDATE gateway_batches SET claimed_until = now(), ask_at = now()")
        await metered(site)
        await postgres.execute("UPDATE gateway_batches SET metered_at = NULL, ask_at = now()")
        await metered(site)
        assert await spent(site, on_key) == COST / 1e9
        assert await differences(site) == []


async def test_a_period_that_ended_meanwhile_is_charged_and_the_new_one_is_not(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site)
        batch_id = await make_batch(site, token)
        assert await site.worker.ledger.flush(10)
        await admin(site, "POST", f"/admin/budgets/{on_key}/reset")
        assert await spent(site, on_key) == 0
        site.provider.end(batch_id, model="gpt-4o-mini", usage=USAGE)
        await metered(site)
        rows = await site.worker.postgres.fetch(
            "SELECT settled_nano_usd - released_nano_usd AS spent FROM budget_periods ORDER BY starts_at"
        )
        assert [row["spent"] for row in rows] == [COST, 0]
        assert (await spent(site, on_key), await shown(site, on_key)) == (0, 0)
        assert await differences(site) == []


@pytest.mark.parametrize(
    ("fields", "charged"),
    [
        ({"output_file_id": "file-gone", "model": "gpt-4o-mini"}, CAP),  # nobody can tell what it used
        ({"usage": USAGE, "model": "nobody-knows-its-price"}, CAP),
        ({"status": "failed"}, 0),
        ({"usage": {"input_tokens": 10**10, "output_tokens": 0}, "model": "gpt-4o-mini"}, 750_000_000_000),
    ],
)
async def test_what_is_charged_is_never_below_the_truth(site_with: Any, fields: dict[str, Any], charged: int) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site, limit_usd=5000)
        site.provider.end(await make_batch(site, token), **fields)
        await metered(site)
        assert await spent(site, on_key) == charged / 1e9
        assert await differences(site) == []


async def test_whoever_has_no_counter_of_the_budget_has_it_told_all_the_same(site_with: Any) -> None:
    async with site_with(OFTEN, "other") as other, site_with("batches: {poll_interval_s: 3600}") as site:
        token, on_key = await key_with(site)
        site.provider.end(await make_batch(site, token), model="gpt-4o-mini", usage=USAGE)
        await other.worker.postgres.execute("UPDATE gateway_batches SET ask_at = now()")
        await metered(other)
        assert await costs(site)
        assert await spent(site, on_key) == COST / 1e9
        assert await differences(site) == []


async def test_a_batch_is_not_done_with_while_the_counters_cannot_be_told(
    site_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site_with(OFTEN) as site:
        token, on_key = await key_with(site)
        batch_id = await make_batch(site, token)
        told: list[str] = []
        put_right = Inspection.put_right

        async def away(self: Inspection, name: str, total: int, gone: Sequence[str]) -> int:
            told.append(name)
            if len(told) < 3:
                raise GatewayError("store_unavailable", "It is away.")
            return await put_right(self, name, total, gone)

        monkeypatch.setattr(Inspection, "put_right", away)
        site.provider.end(batch_id, model="gpt-4o-mini", usage=USAGE)
        await metered(site)
        assert len(told) == 3
        assert await spent(site, on_key) == COST / 1e9
