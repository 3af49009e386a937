"""`budgets verify|holders|write-off`: whether the books agree, and what workers hold."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from gateway.cli.database import database_options, operator, print_json, print_list, print_table, with_stores
from gateway.errors import GatewayError
from gateway.services.budgets.books import Books
from gateway.services.budgets.losses import Holder, Losses
from gateway.services.budgets.verifying import Difference, Verdict, Verification
from gateway.services.quota.inspection import Inspection
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey

_DIFFERS: Final = 1
_NOT_CHECKED: Final = 2
_HELD: Final = ("worker", "state", "last_seen", "version", "held_usd")
_SAYS: Final = {
    "settled": "settled, by the ledger's rows",
    "current_usage": "current_usage, by what is settled",
    "counter": "settled in Valkey, by the database",
    "held": "held in Valkey, by the sum of its workers",
    "gone": "held by a worker that has stopped",
}


@click.command()
@click.option("--repair", is_flag=True, help="Set right what differs; safe beside running gateways.")
@click.option("--all", "everything", is_flag=True, help="Also periods that are over, and budgets that were deleted.")
@database_options
def verify(*, repair: bool, everything: bool, home: Path, as_json: bool) -> None:
    """Compare what budgets say is spent with the ledger, and Valkey with the database.

    Of periods in force. The exit status is 0 where all agree (or do once repaired), 1 where something differs, 2 where
    it could not be looked at.
    """

    async def work(postgres: Postgres, valkey: Valkey | None) -> tuple[Verdict, Verdict]:
        verification = Verification(Books(postgres), None if valkey is None else Inspection(valkey))
        found = await verification.verify(everything=everything)
        if not (repair and found.differences):
            return found, found
        await verification.repair(found.differences, operator())
        return found, await verification.verify(everything=everything)

    try:
        found, left = with_stores(home, work)
    except click.ClickException as error:
        error.show()
        raise SystemExit(_NOT_CHECKED) from None
    if as_json:
        print_json(_verdict(found, left))
    else:
        _print(found, left, repair=repair)
    raise SystemExit(_DIFFERS if left.differences else 0)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also workers that hold nothing.")
@database_options
def holders(*, everything: bool, home: Path, as_json: bool) -> None:
    """List the workers that hold money of budgets: leased, under way, or spent and not yet in the ledger.

    A worker is alive, silent (for a minute; it may have died), or settled (it stopped, or its journal was copied).
    """

    async def work(postgres: Postgres, valkey: Valkey | None) -> list[Holder]:
        return await Losses(postgres, Inspection(_needed(valkey))).holders()

    found = [_holder(each) for each in with_stores(home, work) if everything or each.held]
    print_list(found, _HELD, as_json=as_json)


@click.command(name="write-off")
@click.argument("worker_id", metavar="WORKER_ID", type=click.UUID)
@database_options
def write_off(*, worker_id: uuid.UUID, home: Path, as_json: bool) -> None:
    """Give up the journal of WORKER_ID: what it holds counts as spent, now.

    For a worker whose disk is gone for good; `ledger.lost_lease_hours` does so by itself. Should the journal turn up
    later, its rows are copied, and then count beside what was written off.
    """

    async def work(postgres: Postgres, valkey: Valkey | None) -> Mapping[int, int]:
        return await Losses(postgres, Inspection(_needed(valkey))).write_off(worker_id, operator())

    lost = with_stores(home, work)
    record = {"worker": str(worker_id), "written_off_usd": sum(lost.values()) / 1e9, "periods": _by_period(lost)}
    if as_json:
        print_json(record)
    else:
        click.echo(f"written off: {_usd(sum(lost.values()))} USD, of {len(lost)} budgets")


def _needed(valkey: Valkey | None) -> Valkey:
    if valkey is None:
        raise GatewayError(
            "store_unavailable", "No gateway runs here, and REDIS_URL is not set: nobody holds anything."
        )
    return valkey


def _print(found: Verdict, left: Verdict, *, repair: bool) -> None:
    if found.differences:
        titles = {"BUDGET": False, "PERIOD": True, "END USER": False, "WHAT": False, "SAYS": True, "SHOULD SAY": True}
        print_table(titles, list(_rows(found.differences)))
    counters = "Valkey is not running here" if found.counters is None else f"{found.counters} counters"
    click.echo(f"{found.periods} periods and {counters}: {len(found.differences) or 'no'} differences")
    if repair and found.differences:
        click.echo(f"repaired; {len(left.differences) or 'none'} left")


def _rows(differences: Iterable[Difference]) -> Iterable[tuple[str, ...]]:
    for each in differences:
        account = each.account
        what = _SAYS[each.figure] + (f" ({each.worker})" if each.worker else "")
        name = f"{account.budget} ({account.budget_id})"
        period = f"{account.period_id}, from {account.starts_at:%Y-%m-%d %H:%M}"
        yield name, period, account.end_user, what, _usd(each.found), _usd(each.expected)


def _verdict(found: Verdict, left: Verdict) -> dict[str, Any]:
    return {
        "periods": found.periods,
        "counters": found.counters,
        "differences": [_difference(each) for each in found.differences],
        "left": [_difference(each) for each in left.differences],
    }


def _difference(each: Difference) -> dict[str, Any]:
    account = each.account
    return {
        "figure": each.figure,
        "budget_id": account.budget_id,
        "budget": account.budget,
        "period_id": account.period_id,
        "starts_at": account.starts_at,
        "end_user": account.end_user,
        "worker": each.worker,
        "found_nano_usd": each.found,
        "expected_nano_usd": each.expected,
    }


def _holder(each: Holder) -> dict[str, Any]:
    return {
        "worker": each.worker,
        "state": each.state,
        "version": each.version,
        "started_at": each.started_at.isoformat(timespec="seconds"),
        "last_seen": each.last_seen.isoformat(timespec="seconds"),
        "held_usd": sum(each.held.values()) / 1e9,
        "periods": _by_period(each.held),
    }


def _by_period(amounts: Mapping[int, int]) -> dict[str, float]:
    return {str(period_id): amount / 1e9 for period_id, amount in amounts.items()}


def _usd(nano_usd: int) -> str:
    return f"{nano_usd / 1e9:.9f}"
