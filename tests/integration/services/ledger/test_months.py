from __future__ import annotations

import asyncpg
import pytest

from gateway.services.ledger.months import Months
from gateway.store.postgres import Postgres
from tests.integration.services.ledger.test_partitions import partitions

_MAKE = (
    "DO $$ DECLARE first TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '4 months'; BEGIN"
    " FOR n IN 0..3 LOOP"
    " EXECUTE format('CREATE TABLE %I PARTITION OF usage_costs FOR VALUES FROM (%L) TO (%L)',"
    " 'usage_costs_' || to_char(first + n * interval '1 month', 'YYYY_MM'),"
    " (first + n * interval '1 month') AT TIME ZONE 'UTC', (first + (n + 1) * interval '1 month') AT TIME ZONE 'UTC');"
    " END LOOP; END $$"
)
_ROWS = (
    'INSERT INTO usage_costs (tags, "timestamp")'
    " SELECT '{web}', date_trunc('month', now(), 'UTC') - n * interval '1 month' + interval '1 day'"
    " FROM generate_series(-0, 6) n"
)


def months(postgres: Postgres, *, rows: int | None = None, rollups: int | None = None) -> Months:
    return Months(postgres, months_ahead=1, retention_months=rows, rollup_retention_months=rollups, timeout_s=10)


async def count(postgres: Postgres, table: str) -> int:
    return int(await postgres.fetchval(f"SELECT count(*) FROM {table}"))


@pytest.fixture
async def old(postgres: Postgres) -> Postgres:
    """Rows of this month and the six before, the two oldest in the default partition."""
    await postgres.execute(_MAKE)
    await months(postgres).keep()
    await postgres.execute(_ROWS)
    return postgres


async def test_all_is_kept_unless_it_is_said_otherwise(old: Postgres) -> None:
    await months(old).keep()
    assert [await count(old, table) for table in ("usage_costs", "usage_hourly", "usage_hourly_tags")] == [7, 7, 7]
    assert len(await partitions(old)) == 7


async def test_months_that_are_over_long_ago_are_dropped_and_their_sums_stay(old: Postgres) -> None:
    before = await partitions(old)
    await months(old, rows=2).keep()
    assert await partitions(old) == before[2:]
    assert await count(old, "usage_costs") == 3
    assert await count(old, "usage_costs_default") == 0
    assert [await count(old, table) for table in ("usage_hourly", "usage_daily")] == [7, 7]
    await months(old, rows=2).keep()
    assert await count(old, "usage_costs") == 3


async def test_rollups_have_a_retention_of_their_own(old: Postgres) -> None:
    await months(old, rollups=3).keep()
    tables = ("usage_hourly", "usage_daily", "usage_hourly_tags", "usage_daily_tags")
    assert [await count(old, table) for table in tables] == [4] * 4
    assert await count(old, "usage_costs") == 7


async def test_a_month_that_somebody_reads_is_dropped_later_and_holds_up_nobody(old: Postgres) -> None:
    before = await partitions(old)
    async with old.connection() as reader, reader.transaction():
        await reader.fetch(f"SELECT * FROM {before[0]}")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await months(old, rows=2).keep()
        await old.execute("INSERT INTO usage_costs (input_tokens) VALUES (1)")
    assert len(await partitions(old)) == 7
    await months(old, rows=2).keep()
    assert await partitions(old) == before[2:]
