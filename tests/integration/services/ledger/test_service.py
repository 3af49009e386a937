from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.services.ledger.copier import DEAD_LETTERS, Copier
from gateway.services.ledger.entry import END_COLUMNS, MAX_NAME_CHARS, Entry, end_record, end_row, start_record
from gateway.services.ledger.journal import Journal
from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.store.postgres import Postgres
from gateway.wire.usage import Usage
from tests.integration.services.ledger.stores import cable, until
from tests.unit.services.ledger.entries import KEY_ID, WRITTEN_BEFORE_SEARCH_UNITS, complete, entry, request_id, scope

QUICK = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, adopt_interval_s=0.05, fsync="never")


@pytest.fixture
async def ledger(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(tmp_path / "journal", postgres, QUICK)
    yield opened
    await opened.close()


def write(ledger: Ledger, numbers: range) -> None:
    for number in numbers:
        one = entry(number)
        ledger.start(one)
        ledger.end(complete(one))


async def count(postgres: Postgres) -> int:
    return int(await postgres.fetchval("SELECT count(*) FROM usage_costs"))


async def test_a_row_says_what_the_attempt_was_to_the_microsecond_and_nano_dollar(
    ledger: Ledger, postgres: Postgres
) -> None:
    one = entry(1, attempt=3)
    one.started_us = 1_790_000_000_123_457
    one.streamed = True
    ledger.start(one)
    complete(one)
    one.usage = Usage(100, 50, 1, 2, 1, 3, 4, 5, 6, 7, 8, estimated=True)
    one.cost_nano_usd = 123_456_789_123_456_789
    one.outcome, one.status, one.error_code, one.final = "error", 502, "upstream_5xx", False
    ledger.end(one)
    assert await ledger.flush(30)
    row = await postgres.fetchrow("SELECT * FROM usage_costs")
    assert row is not None
    shown = {key: value for key, value in row.items() if value is not None and key != "id"}
    assert {key: str(shown.pop(key)) for key in ("request_id", "key_id")} == {
        "request_id": request_id(1),
        "key_id": str(KEY_ID),
    }
    assert shown == {
        "attempt": 3,
        "timestamp": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=1_790_000_000_123_457),
        "provider_name": "lab",
        "model_name": "gpt-4o-mini",
        "target_model": "gpt-4o-mini-2024-07-18",
        "endpoint": "chat.completions",
        "streamed": True,
        "final": False,
        "outcome": "error",
        "status": 502,
        "error_code": "upstream_5xx",
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_tokens": 1,
        "cache_write_tokens": 2,
        "reasoning_tokens": 3,
        "audio_input_tokens": 4,
        "audio_output_tokens": 5,
        "image_input_tokens": 6,
        "image_output_tokens": 7,
        "cost_nano_usd": 123_456_789_123_456_789,
        "cost_amount": Decimal("123456789.123456789"),
        "estimated": True,
        "duration_ms": 321,
        "first_byte_ms": 45,
        "search_units": 8,
    }


async def test_every_row_is_copied_once_and_the_journal_goes_when_it_closes(
    ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    for first in range(0, 3000, 300):
        write(ledger, range(first, first + 300))
        await asyncio.sleep(0.002)
    assert await ledger.flush(30)
    assert await count(postgres) == ledger.copied_rows == 3000
    assert (ledger.lag_rows, ledger.lag_bytes, ledger.open_attempts, ledger.duplicate_rows) == (0, 0, 0, 0)
    await until(lambda: len(list((tmp_path / "journal").glob("*/*.journal"))) <= 2)
    await ledger.close()
    assert list((tmp_path / "journal").iterdir()) == []


async def test_a_start_without_an_end_becomes_an_unknown_row_at_what_was_reserved(
    ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    dead = Journal(tmp_path / "journal", segment_bytes=1 << 16, fsync="never")
    dead.start(entry(5))
    dead.close()
    await until(lambda: ledger.adopted_journals == 1)
    row = await postgres.fetchrow("SELECT * FROM usage_costs")
    assert row is not None
    assert {key: row[key] for key in ("outcome", "final", "estimated", "input_tokens", "output_tokens", "status")} == {
        "outcome": "unknown",
        "final": True,
        "estimated": True,
        "input_tokens": 7,
        "output_tokens": 0,
        "status": 0,
    }
    assert row["cost_nano_usd"] == 700
    assert row["cost_amount"] == Decimal("0.000000700")
    assert ledger.unknown_rows == 1
    assert not dead.directory.exists()


async def test_a_journal_from_before_there_were_search_units_is_copied(
    ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere" / "01890000-0000-7000-8000-0000000000ff"
    folder.mkdir(parents=True)
    (folder / "000001.journal").write_bytes(WRITTEN_BEFORE_SEARCH_UNITS + bytes(100))
    folder.rename(tmp_path / "journal" / folder.name)
    await until(lambda: ledger.adopted_journals == 1)
    row = await postgres.fetchrow("SELECT * FROM usage_costs")
    assert row is not None
    assert (str(row["request_id"]), row["outcome"], row["first_byte_ms"]) == (request_id(1), "ok", 45)
    assert (row["input_tokens"], row["cost_nano_usd"], row["search_units"]) == (100, 12_345, 0)


async def test_rows_with_and_without_search_units_are_copied_together(ledger: Ledger, postgres: Postgres) -> None:
    for number in range(6):
        one = entry(number)
        ledger.start(one)
        one.usage = Usage(search_units=number % 3)
        ledger.end(one)
    assert await ledger.flush(30)
    rows = await postgres.fetch("SELECT search_units FROM usage_costs ORDER BY request_id")
    assert [row["search_units"] for row in rows] == [0, 1, 2, 0, 1, 2]


async def test_what_was_copied_before_the_worker_died_is_not_there_twice(
    ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    dead = Journal(tmp_path / "elsewhere", segment_bytes=1 << 20, fsync="never")
    for number in range(120):
        one = entry(number)
        dead.start(one)
        dead.end(complete(one))
    copier = Copier(postgres, tmp_path, timeout_s=10)
    for _ in range(2):
        lines = dead.segments[0].read(0, 1 << 20).splitlines()
        rows = [row for line in lines if (row := end_row(line)) is not None]
        await copier.copy(rows[:70], END_COLUMNS)
    assert (copier.copied_rows, copier.duplicate_rows) == (70, 70)
    dead.close()
    dead.directory.rename(tmp_path / "journal" / dead.directory.name)
    await until(lambda: ledger.adopted_journals == 1)
    assert await count(postgres) == 120
    assert ledger.duplicate_rows == 70


async def test_a_row_that_postgres_refuses_goes_to_the_dead_letters_and_stops_no_other(
    ledger: Ledger, postgres: Postgres, tmp_path: Path
) -> None:
    bad = {17, 18, 90}
    for number in range(100):
        one = entry(number)
        if number in bad:
            one.scope = "\t".join(["no-uuid", *one.scope.split("\t")[1:]])
        ledger.start(one)
        ledger.end(complete(one))
    assert await ledger.flush(30)
    assert await count(postgres) == 97
    assert ledger.refused_rows == 3
    path = tmp_path / "journal" / DEAD_LETTERS
    letters = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    rows = [dict(zip(letter["columns"], letter["row"].split("\t"), strict=True)) for letter in letters]
    assert {row["request_id"] for row in rows} == {request_id(number) for number in bad}
    assert {letter["sqlstate"] for letter in letters} == {"22P02"}
    assert path.stat().st_mode & 0o077 == 0


async def test_while_postgres_is_away_the_journal_grows_and_is_copied_when_it_is_back(
    database_url: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, tmp_path: Path
) -> None:
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        through = await Postgres.open(wire.address, timeout_s=2.0)
        ledger = await Ledger.open(tmp_path / "journal", through, QUICK)
        write(ledger, range(100))
        assert await ledger.flush(30)
        await wire.cut()
        write(ledger, range(100, 1100))
        await until(lambda: ledger.copy_failures > 0)
        assert ledger.lag_rows == 1000
        assert not await ledger.flush(0.05)
        assert len(list((tmp_path / "journal").glob("*/*.journal"))) > 5
        await wire.mend()
        assert await ledger.flush(60)
        assert await count(postgres) == 1100
        await ledger.close()
        await through.close()


async def test_a_journal_that_is_full_while_postgres_is_away_refuses_and_takes_rows_again_afterwards(
    database_url: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, tmp_path: Path
) -> None:
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        through = await Postgres.open(wire.address, timeout_s=2.0)
        ledger = await Ledger.open(tmp_path / "journal", through, replace(QUICK, max_journal_mb=0.25))
        await wire.cut()
        with pytest.raises(GatewayError) as refused:
            write(ledger, range(10_000))
        assert refused.value.code == "journal_unavailable"
        written = ledger.lag_rows
        assert written > 200
        assert (ledger.refused_attempts, ledger.dropped_rows, ledger.open_attempts) == (1, 0, 0)
        await wire.mend()
        assert await ledger.flush(60)
        write(ledger, range(10_000, 10_100))
        assert await ledger.flush(60)
        assert await count(postgres) == written + 100
        await ledger.close()
        await through.close()


async def test_connections_that_break_at_any_moment_lose_and_double_nothing(
    database_url: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, tmp_path: Path
) -> None:
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        through = await Postgres.open(wire.address, timeout_s=2.0)
        ledger = await Ledger.open(tmp_path / "journal", through, QUICK)
        for turn in range(30):
            write(ledger, range(turn * 100, turn * 100 + 100))
            await asyncio.sleep(0.001 * (turn % 17))
            await wire.cut(refuse=False)
        assert await ledger.flush(60)
        assert await count(postgres) == 3000
        await ledger.close()
        await through.close()


async def test_a_ledger_opens_without_a_database_and_copies_once_there_is_one(
    database_url: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, tmp_path: Path
) -> None:
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        await wire.cut()
        through = await Postgres.open(wire.address, min_size=0, timeout_s=2.0)
        ledger = await Ledger.open(tmp_path / "journal", through, QUICK)
        write(ledger, range(10))
        await ledger.close()
        await wire.mend()
        successor = await Ledger.open(tmp_path / "journal", through, QUICK)
        await until(lambda: successor.adopted_journals == 1)
        assert await count(postgres) == 10
        await successor.close()
        await through.close()


async def test_two_ledgers_that_adopt_at_once_copy_every_journal_once(postgres: Postgres, tmp_path: Path) -> None:
    for worker in range(6):
        dead = Journal(tmp_path / "journal", segment_bytes=1 << 16, fsync="never")
        for number in range(worker * 100, worker * 100 + 100):
            one = entry(number)
            dead.start(one)
            if number % 10:
                dead.end(complete(one))
        dead.close()
    ledgers = await asyncio.gather(*(Ledger.open(tmp_path / "journal", postgres, QUICK) for _ in range(3)))
    await until(lambda: sum(ledger.adopted_journals for ledger in ledgers) == 6)
    assert await count(postgres) == sum(ledger.copied_rows for ledger in ledgers) == 600
    assert sum(ledger.unknown_rows for ledger in ledgers) == 60
    assert sum(ledger.duplicate_rows for ledger in ledgers) == 0
    for ledger in ledgers:
        await ledger.close()


async def test_with_fsync_always_everything_is_copied_and_synced(postgres: Postgres, tmp_path: Path) -> None:
    options = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, fsync="always", fsync_interval_ms=5)
    ledger = await Ledger.open(tmp_path / "journal", postgres, options)
    for first in range(0, 600, 100):
        write(ledger, range(first, first + 100))
        await ledger.sync()
    assert await ledger.flush(30)
    assert await count(postgres) == 600
    await ledger.close()


async def test_a_journal_that_cannot_be_made_is_a_failure_with_a_name(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("in the way")
    with pytest.raises(GatewayError) as refused:
        await Ledger.open(tmp_path / "journal", postgres, QUICK)
    assert refused.value.code == "journal_unavailable"


_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_ANY_TEXT, min_size=1, max_size=20))
async def test_any_name_comes_out_of_the_database_as_it_was_but_for_what_no_text_column_holds(
    postgres: Postgres, tmp_path: Path, names: list[str]
) -> None:
    await postgres.execute("TRUNCATE usage_costs")
    rows = []
    for number, name in enumerate(names):
        one = Entry(request_id(number), 1, 1_790_000_000_000_000, scope(model_name=name))
        start_record(one)
        row = end_row(end_record(one)[:-1])
        assert row is not None
        rows.append(row)
    copier = Copier(postgres, tmp_path, timeout_s=10)
    await copier.copy(rows, END_COLUMNS)
    assert copier.refused_rows == 0
    stored = await postgres.fetch("SELECT model_name FROM usage_costs ORDER BY request_id")
    expected = [name.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_NAME_CHARS] for name in names]
    assert [each["model_name"] for each in stored] == expected
