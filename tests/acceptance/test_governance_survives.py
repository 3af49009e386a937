"""Budgets and the ledger when workers, gateways and stores die under load. The benchmark does more of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.acceptance import ordeals
from tests.acceptance.governing import Clients, Site, governed_site

_LIMIT_NANO = 2_000_000_000
_LEASE_S = 5.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two gateways of two workers for all tests; each has a key of its own."""
    with governed_site(pause_ms=40) as running:
        yield running


def test_killed_workers_and_gateways_lose_no_attempt_and_leave_nothing_held(site: Site) -> None:
    async def story(clients: Clients) -> None:
        for _ in range(3):
            await ordeals.kill_a_worker(site)
        await ordeals.kill_a_gateway(site, 1)

    found = ordeals.under_load(site, story, _LIMIT_NANO)
    assert found.unknown > 0, "nobody died in the middle of an attempt"
    assert found.ledger > 0.9 * _LIMIT_NANO


def test_a_worker_that_was_stopped_for_longer_than_its_lease_spends_nothing_twice(site: Site) -> None:
    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        await ordeals.stop_a_worker(site, _LEASE_S + 1.5)

    assert ordeals.under_load(site, story, _LIMIT_NANO).ledger > 0.9 * _LIMIT_NANO


def test_requests_go_on_while_the_database_is_away_and_are_in_the_ledger_afterwards(site: Site) -> None:
    answered = []

    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        answered.append(clients.outcomes["200"])
        await ordeals.take_the_database_away(site, 5.0)
        answered.append(clients.outcomes["200"])

    assert ordeals.under_load(site, story, _LIMIT_NANO).ledger > 0.9 * _LIMIT_NANO
    assert answered[1] > answered[0] + 50


def test_a_budget_holds_when_the_counters_are_restarted_and_emptied(site: Site) -> None:
    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        await ordeals.restart_the_counters(site)
        await ordeals.until_answered(clients)
        await ordeals.empty_the_counters(site)
        await ordeals.until_answered(clients)

    assert ordeals.under_load(site, story, _LIMIT_NANO).ledger > 0.9 * _LIMIT_NANO
