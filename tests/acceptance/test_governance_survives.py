"""Budgets and the ledger when workers, gateways and stores die under load."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
import redis

from tests.acceptance.auditing import Audit, audit
from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.governing import Clients, Site, governed_site
from tests.acceptance.served import call

_CLIENTS = 24
_LIMIT_USD = "2.00"
_LIMIT_NANO = 2_000_000_000
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two gateways of two workers for all tests; each has a key of its own."""
    with governed_site(pause_ms=40) as running:
        yield running


def _load_with(site: Site, story: Callable[[Clients], Awaitable[None]]) -> Audit:
    """Have clients ask while `story` happens, and until their budget is used up; then compare the books."""
    made = site.make_key(budget={"limit_usd": _LIMIT_USD, "period": "total"})
    clients = Clients(
        site.ports(), made["key"], cut_share=0.1, stream_share=0.33, most_class=63, pause_s=0.25, read_timeout_s=15
    )

    async def run() -> None:
        told = asyncio.ensure_future(story(clients))
        deadline = time.monotonic() + _PATIENCE_S

        def over() -> bool:
            if not told.done():
                return False
            clients.pause_s = 0.0
            return clients.outcomes["429"] > 2000 or time.monotonic() > deadline

        await clients.run(_CLIENTS, over)
        await told

    asyncio.run(run())
    found = audit(site, clients, made["id"], _LIMIT_NANO)
    print(found, dict(clients.outcomes))
    assert found.ledger > 0.9 * _LIMIT_NANO, "the budget was not used up"
    return found


def test_killed_workers_and_gateways_lose_no_attempt_and_leave_nothing_held(site: Site) -> None:
    async def story(clients: Clients) -> None:
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.5, 1.5))
            random.choice(random.choice(site.gateways).workers()).kill()
        await asyncio.sleep(random.uniform(0.5, 1.5))
        await kill_gateway(site, 1)

    assert _load_with(site, story).unknown > 0


async def kill_gateway(site: Site, number: int) -> None:
    """kill -9 of all its processes, and another one in its place."""
    killed = site.gateways[number]
    processes = killed.descendants()
    killed.kill()
    for process in processes:
        process.kill()
    await asyncio.to_thread(site.start_gateway, number, killed.port)


def test_a_worker_that_was_stopped_for_longer_than_its_lease_spends_nothing_twice(site: Site) -> None:
    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        worker = site.gateways[0].workers()[0]
        worker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(6.5)
        worker.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.0)

    _load_with(site, story)


def test_requests_go_on_while_the_database_is_away_and_are_in_the_ledger_afterwards(site: Site) -> None:
    answered = [0, 0]

    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        await site.postgres.stop()
        answered[0] = clients.outcomes["200"]
        await asyncio.sleep(5.0)
        answered[1] = clients.outcomes["200"]
        await site.postgres.start()
        await asyncio.sleep(1.0)

    _load_with(site, story)
    assert answered[1] > answered[0] + 50


def test_a_budget_holds_when_the_counters_are_restarted_and_emptied(site: Site) -> None:
    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        await site.valkey.stop()
        await asyncio.sleep(0.5)
        await site.valkey.start()
        await _until_answered(clients)
        await asyncio.to_thread(_empty, site)
        await _until_answered(clients)

    _load_with(site, story)


async def _until_answered(clients: Clients) -> None:
    """Return when requests are answered again."""
    before, deadline = clients.outcomes["200"], time.monotonic() + 20
    await asyncio.sleep(1.0)
    while clients.outcomes["200"] < before + 100:
        assert time.monotonic() < deadline, clients.outcomes
        await asyncio.sleep(0.1)


def _empty(site: Site) -> None:
    client = redis.Redis.from_url(site.counters)
    client.flushall()
    client.close()
