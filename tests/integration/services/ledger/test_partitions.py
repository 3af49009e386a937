from __future__ import annotations

import asyncio

from gateway.store.postgres import Postgres

_PARTITIONS = (
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage_costs'::regclass ORDER BY 1"
)
_MONTHS = (
    "SELECT 'usage_costs_' || to_char("
    "date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM')"
    " FROM generate_series(0, $1::integer) n ORDER BY 1"
)


async def partitions(postgres: Postgres) -> list[str]:
    return [row["name"] for row in await postgres.fetch(_PARTITIONS)]


async def test_the_months_to_come_get_partitions_once(postgres: Postgres) -> None:
    assert await partitions(postgres) == ["usage_costs_default"]
    assert await postgres.fetchval("SELECT usage_costs_ensure_partitions(2)") == 3
    assert await postgres.fetchval("SELECT usage_costs_ensure_partitions(2)") == 0
    months = [row[0] for row in await postgres.fetch(_MONTHS, 2)]
    assert await partitions(postgres) == [*months, "usage_costs_default"]


async def test_many_workers_may_ask_at_once(postgres: Postgres) -> None:
    made = await asyncio.gather(*(postgres.fetchval("SELECT usage_costs_ensure_partitions(3)") for _ in range(6)))
    assert sum(made) == 4


async def test_rows_that_came_before_their_partition_move_into_it(postgres: Postgres) -> None:
    # The draft's columns alone are enough for others who insert.
    await postgres.execute("INSERT INTO usage_costs (input_tokens, cost_amount) VALUES (1, 0.000001), (2, 1)")
    await postgres.execute(
        "INSERT INTO usage_costs (input_tokens, \"timestamp\") VALUES (3, now() - interval '3 years')"
    )
    await postgres.execute("SELECT usage_costs_ensure_partitions(0)")
    rows = await postgres.fetch("SELECT tableoid::regclass::text AS name, id FROM usage_costs ORDER BY input_tokens")
    month = (await postgres.fetch(_MONTHS, 0))[0][0]
    assert [row["name"] for row in rows] == [month, month, "usage_costs_default"]
    assert len({row["id"] for row in rows}) == 3
