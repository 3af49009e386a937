from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.services.ledger.copier import Copier
from gateway.services.ledger.journal import Journal
from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.store.embedded import EmbeddedStores
from gateway.store.migrate import apply
from gateway.store.postgres import Postgres
from tests.integration.services.ledger import hanger, settler
from tests.integration.services.ledger.budgets import COST_NANO_USD, Told, make_period, settled, shown, write
from tests.integration.services.ledger.stores import cable, until
from tests.unit.services.ledger.entries import complete, entry

QUICK = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, adopt_interval_s=0.05, fsync="never")
_WAITS_FOR_A_ROW = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid' AND datname = current_database())"
)


async def test_rows_are_added_to_the_periods_that_they_name_and_told_of_after_the_commit(
    postgres: Postgres, tmp_path: Path
) -> None:
    mine, other, past, users = [
        await make_period(postgres),
        await make_period(postgres),
        await make_period(postgres, current=False),
        await make_period(postgres, end_user="ann"),
    ]
    await postgres.execute("UPDATE budget_periods SET lost_nano_usd = 5 WHERE id = $1", other)
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    write(ledger, range(100), f"{{{mine}}}")
    write(ledger, range(100, 130), f"{{{mine},{other},{past},{users}}}")
    write(ledger, range(130, 150), "")
    assert await ledger.flush(30)
    expected = {mine: 130 * COST_NANO_USD, **dict.fromkeys((other, past, users), 30 * COST_NANO_USD)}
    assert {period: await settled(postgres, period) for period in expected} == expected
    assert told.deltas == {ledger.journal_id: expected}
    assert told.totals == {**expected, other: 30 * COST_NANO_USD + 5}
    assert await shown(postgres, mine) == Decimal(130 * COST_NANO_USD).scaleb(-9)
    # Of a period that is over, and of one of many end users, the budget's one figure says nothing.
    assert await shown(postgres, past) == await shown(postgres, users) == 0
    row = await postgres.fetchrow("SELECT budget_period_ids FROM usage_costs ORDER BY request_id OFFSET 120 LIMIT 1")
    assert row is not None
    assert row["budget_period_ids"] == [mine, other, past, users]
    await ledger.close()


async def test_what_an_unknown_period_would_get_is_nobodys_and_stops_no_row(postgres: Postgres, tmp_path: Path) -> None:
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    write(ledger, range(10), "{999}")
    assert await ledger.flush(30)
    assert (ledger.copied_rows, ledger.refused_rows, told.deltas) == (10, 0, {})
    await ledger.close()


async def test_a_row_that_is_refused_counts_as_lost_once_however_often_its_batch_is_tried(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_all = Copier._copy_all
    broke: list[int] = []

    async def breaking(self: Copier, *given: Any) -> Any:
        if self.refused_rows and not broke:
            broke.append(1)
            raise OSError("the connection broke")
        return await copy_all(self, *given)

    monkeypatch.setattr(Copier, "_copy_all", breaking)
    period = await make_period(postgres)
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    for number in range(40):
        one = entry(number)
        one.budgets = f"{{{period}}}"
        if number == 17:
            one.scope = "\t".join(["no-uuid", *one.scope.split("\t")[1:]])
        ledger.start(one)
        ledger.end(complete(one))
    assert await ledger.flush(30)
    assert (ledger.refused_rows, broke) == (1, [1])
    assert await settled(postgres, period) == 39 * COST_NANO_USD
    lost = await postgres.fetchval("SELECT lost_nano_usd FROM budget_periods WHERE id = $1", period)
    assert lost == COST_NANO_USD
    assert told.deltas[ledger.journal_id][period] == told.totals[period] == 40 * COST_NANO_USD
    await ledger.close()


async def test_a_commit_whose_answer_was_lost_is_told_of_by_the_next_try(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    period = await make_period(postgres)
    copy_all = Copier._copy_all
    lost: list[int] = []

    async def deaf(self: Copier, *given: Any) -> Any:
        answer = await copy_all(self, *given)
        if len(lost) < 3:
            lost.append(answer[0])
            raise OSError("the connection broke")
        return answer

    monkeypatch.setattr(Copier, "_copy_all", deaf)
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    write(ledger, range(120), f"{{{period}}}")
    assert await ledger.flush(30)
    assert sum(lost) > 0
    assert ledger.duplicate_rows == sum(lost)
    assert await settled(postgres, period) == told.totals[period] == 120 * COST_NANO_USD
    assert told.deltas[ledger.journal_id][period] == 120 * COST_NANO_USD
    await ledger.close()


async def test_connections_that_break_at_any_moment_settle_and_tell_each_row_once(
    database_url: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, tmp_path: Path
) -> None:
    period = await make_period(postgres)
    told = Told()
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        through = await Postgres.open(wire.address, timeout_s=2.0)
        ledger = await Ledger.open(tmp_path, through, QUICK, settlements=told)
        for turn in range(30):
            write(ledger, range(turn * 100, turn * 100 + 100), f"{{{period}}}")
            await asyncio.sleep(0.001 * (turn % 17))
            await wire.cut(refuse=False)
        assert await ledger.flush(60)
        assert await settled(postgres, period) == told.totals[period] == 3000 * COST_NANO_USD
        assert told.deltas == {ledger.journal_id: {period: 3000 * COST_NANO_USD}}
        await ledger.close()
        await through.close()


async def test_a_worker_killed_between_its_commit_and_its_word_of_it_settles_nothing_twice(
    postgres: Postgres, database_url: Mapping[str, Any], tmp_path: Path
) -> None:
    period = await make_period(postgres)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", settler.__name__, str(tmp_path), json.dumps(dict(database_url)), str(period), "130",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    dead = (await process.stdout.read()).decode().strip()
    assert await process.wait() == -9
    before = await settled(postgres, period)
    assert 0 < before < 130 * COST_NANO_USD
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    await until(lambda: ledger.adopted_journals == 1)
    everything = 130 * COST_NANO_USD + 700  # the one that had not ended, at what was reserved
    assert await settled(postgres, period) == told.totals[period] == everything
    assert told.deltas == {dead: {period: everything - before}}
    assert told.buried == [dead]
    assert await postgres.fetchval("SELECT count(*) FROM usage_costs WHERE $1 = ANY (budget_period_ids)", period) == 131
    await ledger.close()


async def test_a_dead_workers_journal_stays_until_somebody_has_settled_what_it_held(
    postgres: Postgres, tmp_path: Path
) -> None:
    period = await make_period(postgres)
    dead = Journal(tmp_path, segment_bytes=1 << 16, fsync="never")
    one = entry(5)
    one.budgets = f"{{{period}}}"
    dead.start(one)
    dead.close()
    deaf = Told(refusals=10**9)
    first = await Ledger.open(tmp_path, postgres, QUICK, settlements=deaf)
    await until(lambda: first.copy_failures > 2)
    assert dead.directory.exists()
    assert (deaf.buried, first.adopted_journals, await settled(postgres, period)) == ([], 0, 700)
    assert first.duplicate_rows == 0  # it was read once
    await first.close()
    told = Told(refusals=2)
    second = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    await until(lambda: second.adopted_journals == 1)
    assert told.buried == [dead.directory.name]
    assert not dead.directory.exists()
    assert await settled(postgres, period) == told.totals[period] == 700
    assert told.deltas == {dead.directory.name: {period: 0}}
    await second.close()


async def test_a_worker_whose_end_cannot_be_noted_leaves_its_journal_to_whoever_can_say_it(
    postgres: Postgres, tmp_path: Path
) -> None:
    period = await make_period(postgres)
    ended, unheard = Told(), Told(refused_ends=True)
    for told in (ended, unheard):
        ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
        write(ledger, range(10), f"{{{period}}}")
        assert await ledger.flush(60)
        await ledger.close()
        assert (tmp_path / ledger.journal_id).exists() == told.refused_ends
    assert (ended.ends, ended.buried) == (1, [])
    told = Told()
    finder = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    await until(lambda: told.buried == [ledger.journal_id])
    await finder.close()
    assert told.ends == 1


async def test_ledgers_that_settle_the_same_periods_at_once_lose_nothing_and_do_not_lock_each_other_out(
    postgres: Postgres, tmp_path: Path
) -> None:
    periods = [await make_period(postgres) for _ in range(4)]
    told = Told()
    ledgers = await asyncio.gather(*(Ledger.open(tmp_path, postgres, QUICK, settlements=told) for _ in range(4)))
    for turn in range(10):
        for number, ledger in enumerate(ledgers):
            first = (turn * 4 + number) * 50
            named = periods[number % 2 :] if turn % 2 else periods[::-1]
            write(ledger, range(first, first + 50), "{" + ",".join(map(str, named)) + "}")
        await asyncio.sleep(0.005)
    for ledger in ledgers:
        assert await ledger.flush(60)
    rows = await postgres.fetchval("SELECT count(*) FROM usage_costs WHERE $1 = ANY (budget_period_ids)", periods[3])
    assert rows == 2000
    for period in periods:
        of_rows = await postgres.fetchval(
            "SELECT sum(cost_nano_usd)::bigint FROM usage_costs WHERE $1 = ANY (budget_period_ids)", period
        )
        assert await settled(postgres, period) == told.totals[period] == of_rows
        assert sum(deltas[period] for deltas in told.deltas.values()) == of_rows
    assert sum(ledger.copy_failures for ledger in ledgers) == 0
    for ledger in ledgers:
        await ledger.close()


async def test_a_copy_waits_for_somebody_who_changes_the_budget_and_does_not_stand_in_the_way(
    postgres: Postgres, tmp_path: Path
) -> None:
    period = await make_period(postgres)
    told = Told()
    ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
    async with postgres.connection() as admin, admin.transaction():
        await admin.execute("SELECT FROM cost_budgets FOR UPDATE")
        write(ledger, range(50), f"{{{period}}}")
        async with asyncio.timeout(30):
            while not await postgres.fetchval(_WAITS_FOR_A_ROW):
                await asyncio.sleep(0.01)
        await admin.execute("UPDATE budget_periods SET topped_up_nano_usd = 7")
    assert await ledger.flush(30)
    assert ledger.copy_failures == 0
    assert await settled(postgres, period) == told.totals[period] == 50 * COST_NANO_USD
    await ledger.close()


async def test_a_worker_that_hangs_in_the_middle_of_a_copy_keeps_others_rows_out_for_seconds_only(
    postgres: Postgres, database_url: Mapping[str, Any], tmp_path: Path
) -> None:
    period = await make_period(postgres)
    told = Told()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", hanger.__name__, str(tmp_path / "there"), json.dumps(dict(database_url)), str(period),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"hangs\n"
    ledger = await Ledger.open(tmp_path / "here", postgres, QUICK, settlements=told)
    write(ledger, range(50), f"{{{period}}}")
    try:
        assert not await ledger.flush(1.0)
        assert await ledger.flush(15.0)
        assert await settled(postgres, period) == 50 * COST_NANO_USD
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(30):
            while await settled(postgres, period) != 60 * COST_NANO_USD:
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.wait()
    await ledger.close()


async def test_a_database_that_is_restarted_while_rows_are_copied_settles_each_once(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kc-", dir="/tmp") as home:
        stores = EmbeddedStores(Path(home), valkey=False)
        addresses = await stores.start()
        assert addresses.postgres is not None
        postgres = await Postgres.open(addresses.postgres)
        await apply(postgres)
        period = await make_period(postgres)
        told = Told()
        ledger = await Ledger.open(tmp_path, postgres, QUICK, settlements=told)
        for turn in range(6):
            write(ledger, range(turn * 300, turn * 300 + 300), f"{{{period}}}")
            await asyncio.sleep(0.01 * turn)
            if turn % 2:
                await stores.stop()
                await stores.start()
        assert await ledger.flush(60)
        assert await postgres.fetchval("SELECT count(*) FROM usage_costs") == 1800
        assert await settled(postgres, period) == told.totals[period] == 1800 * COST_NANO_USD
        assert told.deltas == {ledger.journal_id: {period: 1800 * COST_NANO_USD}}
        assert await postgres.fetchval("SELECT sum(attempts)::bigint FROM usage_hourly") == 1800
        await ledger.close()
        await postgres.close()
        await stores.stop()
