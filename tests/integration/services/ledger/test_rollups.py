from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from gateway.services.ledger.entry import Entry, render_scope
from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.services.ledger.spending import Spending
from gateway.store.migrate import apply, released
from gateway.store.postgres import Postgres
from gateway.wire.usage import Usage
from tests.integration.services.ledger.stores import cable
from tests.unit.services.ledger.entries import KEY_ID, request_id

QUICK = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, adopt_interval_s=60, fsync="never")
TEAMS = (None, UUID(int=1), UUID(int=2))
SUMS = (
    "count(*) FILTER (WHERE final) AS requests, count(*) AS attempts,"
    " count(*) FILTER (WHERE outcome <> 'ok') AS errors,"
    " sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,"
    " sum(cached_tokens)::bigint AS cached_tokens, sum(cache_write_tokens)::bigint AS cache_write_tokens,"
    " sum(reasoning_tokens)::bigint AS reasoning_tokens, sum(audio_input_tokens)::bigint AS audio_input_tokens,"
    " sum(audio_output_tokens)::bigint AS audio_output_tokens, sum(image_input_tokens)::bigint AS image_input_tokens,"
    " sum(image_output_tokens)::bigint AS image_output_tokens, sum(search_units)::bigint AS search_units,"
    " sum(cost_nano_usd)::bigint AS cost_nano_usd, count(*) FILTER (WHERE estimated) AS estimated,"
    " sum(duration_ms)::bigint AS duration_ms"
)
CUBE = "key_id, team_id, user_id, model_name, provider_name, agent_id, query_type"


def write(ledger: Ledger, numbers: range, chance: random.Random) -> None:
    """Attempts of several hours, days, teams, models, tags and outcomes."""
    for number in numbers:
        scope = render_scope(
            key_id=KEY_ID,
            team_id=chance.choice(TEAMS),
            user_id=None,
            provider_id=None,
            model_id=None,
            provider_name=chance.choice(("lab", "cloud")),
            model_name=chance.choice(("small", "large")),
            target_model="m",
            endpoint="chat.completions",
        )
        started_us = 1_790_000_000_000_000 + chance.randrange(60 * 3600) * 1_000_000
        one = Entry(request_id(number), 1, started_us, scope, tags=chance.choice(((), ("web",), ("web", "batch"))))
        ledger.start(one)
        one.usage = Usage(*(chance.randrange(100) for _ in range(10)), estimated=chance.random() < 0.1)
        one.outcome = chance.choice(("ok", "error"))
        one.final = chance.random() < 0.9
        one.cost_nano_usd = chance.randrange(10**9)
        one.duration_ms = chance.randrange(1000)
        ledger.end(one)


async def of_rows(postgres: Postgres, unit: str, what: str = CUBE, source: str = "usage_costs") -> set[tuple[Any, ...]]:
    rows = await postgres.fetch(
        f"SELECT date_trunc('{unit}', timestamp, 'UTC') AS starts_at, {what}, {SUMS} FROM {source} GROUP BY 1, {what}"
    )
    return {tuple(row) for row in rows}


async def kept(postgres: Postgres, table: str) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in await postgres.fetch(f"SELECT * FROM {table}")}


async def assert_rolled_up(postgres: Postgres) -> None:
    hourly = await kept(postgres, "usage_hourly")
    assert len(hourly) > 100
    assert hourly == await of_rows(postgres, "hour")
    assert await kept(postgres, "usage_daily") == await of_rows(postgres, "day")
    tagged = "(SELECT unnest(tags) AS tag, * FROM usage_costs) AS tagged"
    assert await kept(postgres, "usage_hourly_tags") == await of_rows(postgres, "hour", "tag, team_id", tagged)
    assert await kept(postgres, "usage_daily_tags") == await of_rows(postgres, "day", "tag, team_id", tagged)


async def test_rollups_are_the_sums_of_the_rows_whatever_was_copied_twice(
    database_url: Mapping[str, Any], tmp_path: Path, postgres: Postgres, tmp_path_factory: Any
) -> None:
    chance = random.Random(7)
    async with cable(database_url, tmp_path_factory.mktemp("s")) as wire:
        through = await Postgres.open(wire.address, timeout_s=2.0)
        ledgers = [await Ledger.open(tmp_path / str(n), through, QUICK) for n in range(2)]
        for turn in range(10):
            for number, ledger in enumerate(ledgers):
                first = (turn * 2 + number) * 100
                write(ledger, range(first, first + 100), chance)
            await asyncio.sleep(0.002 * turn)
            await wire.cut(refuse=False)
        for ledger in ledgers:
            assert await ledger.flush(60)
            await ledger.close()
        await through.close()
    assert await postgres.fetchval("SELECT count(*) FROM usage_costs") == 2000
    await assert_rolled_up(postgres)
    spent = await postgres.fetchval("SELECT sum(cost_nano_usd)::bigint FROM usage_costs")
    assert await Spending(postgres).spent_nano_usd(str(KEY_ID)) == spent
    assert await Spending(postgres).spent_nano_usd(str(UUID(int=99))) == 0


async def test_rows_from_before_there_were_rollups_are_in_them(
    empty_database_url: Mapping[str, Any], postgres: Postgres, tmp_path: Path
) -> None:
    ledger = await Ledger.open(tmp_path, postgres, QUICK)
    write(ledger, range(500), random.Random(8))
    assert await ledger.flush(30)
    await ledger.close()
    older = await Postgres.open(empty_database_url)
    await apply(older, migrations=[each for each in released() if each.version < 10])
    columns = [
        row[0]
        for row in await older.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name='usage_costs'"
        )
    ]
    names = ", ".join(f'"{name}"' for name in columns)
    for row in await postgres.fetch(f"SELECT {names} FROM usage_costs"):
        places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await older.execute(f"INSERT INTO usage_costs ({names}) VALUES ({places})", *row)
    await apply(older)
    assert await kept(older, "usage_hourly") == await of_rows(postgres, "hour")
    assert await kept(older, "usage_daily") == await of_rows(postgres, "day")
    await older.close()


async def test_rows_that_others_insert_are_counted_by_their_cost_amount(postgres: Postgres) -> None:
    await postgres.execute(
        'INSERT INTO usage_costs (input_tokens, cost_amount, "timestamp") VALUES (1, 0.5, $1), (NULL, NULL, $1)',
        datetime(2026, 5, 1, 10, 59, 59, tzinfo=UTC),
    )
    (row,) = await postgres.fetch("SELECT * FROM usage_hourly")
    assert row["starts_at"] == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert (row["attempts"], row["input_tokens"], row["output_tokens"], row["cost_nano_usd"]) == (2, 1, 0, 500_000_000)


async def test_figures_that_no_attempt_can_have_do_not_keep_later_rows_out(postgres: Postgres) -> None:
    for _ in range(3):
        await postgres.execute(
            'INSERT INTO usage_costs (input_tokens, cost_nano_usd, "timestamp") VALUES ($1, $1, now())', 2**63 - 1
        )
    (row,) = await postgres.fetch("SELECT * FROM usage_daily")
    assert (row["attempts"], row["input_tokens"], row["cost_nano_usd"]) == (3, 3 * 2**40, 3 * 10**15)
