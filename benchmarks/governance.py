"""Limits and budgets on two gateways of two workers, longer than tests can take: `python -m benchmarks.governance`.

It fails where a guarantee does not hold, and prints figures where it does. The machine must not be busy otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import click

from tests.acceptance import ordeals
from tests.acceptance.auditing import Audit, admitted_by_minute
from tests.acceptance.governing import Clients, Site, governed_site

_RPM = 1000
_WINDOW_S = 60
_LEAST_USED = 0.95
_LIMIT_NANO = 8_000_000_000
_KILLS = 20
_LEASE_S = 5.0
_AWAY_S = 30.0
_SITE_PAUSE_MS = 40


def limit_of_requests(windows: int) -> None:
    """1,000 requests a minute under a load of many times that, for so many whole windows."""
    with governed_site() as site:
        made = site.make_key(rpm=_RPM)
        clients = Clients(site.ports(), made["key"], most_tokens=1, most_class=0, pause_s=0.02)
        first = int(time.time()) // _WINDOW_S + 1
        end = (first + windows) * _WINDOW_S
        asyncio.run(clients.run(40, lambda: time.time() > end))
        found = admitted_by_minute(site, made["id"])
        total = 0
        for minute in range(first, first + windows):
            window = found[minute]
            total += window.sure + window.doubtful
            click.echo(f"window {minute - first + 1}: {window.sure} admitted, {window.doubtful} more at its beginning")
            assert window.sure <= _RPM
            assert window.sure + window.doubtful >= _LEAST_USED * _RPM
        assert total <= windows * _RPM + found[first].doubtful
        click.echo(f"asked for: {sum(clients.outcomes.values())}, refused: {clients.outcomes['429']}")


def killed(site: Site) -> Audit:
    """kill -9, twenty times; every fourth time of a whole gateway."""

    async def story(clients: Clients) -> None:
        for number in range(_KILLS):
            if number % 4 == 3:
                await ordeals.kill_a_gateway(site, number // 4 % 2)
            else:
                await ordeals.kill_a_worker(site)

    return ordeals.under_load(site, story, _LIMIT_NANO)


def stopped(site: Site) -> Audit:
    """SIGSTOP of a worker for longer than its lease, three times."""

    async def story(clients: Clients) -> None:
        for _ in range(3):
            await ordeals.stop_a_worker(site, _LEASE_S + 2.0)
            await asyncio.sleep(1.0)

    return ordeals.under_load(site, story, _LIMIT_NANO)


def without_database(site: Site) -> Audit:
    """PostgreSQL away for thirty seconds."""

    async def story(clients: Clients) -> None:
        await asyncio.sleep(1.0)
        await ordeals.take_the_database_away(site, _AWAY_S)

    return ordeals.under_load(site, story, _LIMIT_NANO)


def counters_lost(site: Site) -> Audit:
    """Valkey restarted, then emptied, three times."""

    async def story(clients: Clients) -> None:
        for _ in range(3):
            await ordeals.restart_the_counters(site)
            await ordeals.until_answered(clients)
            await ordeals.empty_the_counters(site)
            await ordeals.until_answered(clients)

    return ordeals.under_load(site, story, _LIMIT_NANO)


_ORDEALS: tuple[Callable[[Site], Audit], ...] = (killed, stopped, without_database, counters_lost)


@click.command()
@click.option("--windows", default=3, show_default=True, help="Minutes of the limit of requests; 0: leave it out.")
@click.option("--only", type=click.Choice([each.__name__ for each in _ORDEALS]), help="One ordeal instead of all.")
def main(windows: int, only: str | None) -> None:
    """Show that limits and budgets hold, at length."""
    if windows:
        limit_of_requests(windows)
    with governed_site(pause_ms=_SITE_PAUSE_MS) as site:
        for ordeal in _ORDEALS:
            if only in (None, ordeal.__name__):
                began = time.monotonic()
                found = ordeal(site)
                click.echo(
                    f"{ordeal.__name__}: {found.attempts} attempts, {found.unknown} of unknown end, "
                    f"served ${found.served / 1e9:.6f} <= ledger ${found.ledger / 1e9:.6f} "
                    f"<= limit ${_LIMIT_NANO / 1e9:.2f}, {time.monotonic() - began:.0f} s"
                )


if __name__ == "__main__":
    main()
