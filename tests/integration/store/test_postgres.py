"""The pool against a real server: what it returns, what it survives, what it says when nobody is there."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from gateway.errors import GatewayError
from gateway.store.embedded import EmbeddedStores
from gateway.store.postgres import Connection, Postgres, PostgresHooks


class Server:
    """A PostgreSQL of a test's own, to be stopped, paused and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stores = EmbeddedStores(home, valkey=False, settings={"fsync": "off"})
        self.address: Mapping[str, Any] = {}

    async def start(self) -> None:
        addresses = await self.stores.start()
        assert addresses.postgres is not None
        self.address = addresses.postgres

    def signal_all(self, number: signal.Signals) -> None:
        for process in psutil.process_iter(["name", "cwd"]):
            if process.info["name"] == "postgres" and process.info["cwd"] == str(self.home / "postgres" / "data"):
                process.send_signal(number)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="kc-", dir="/tmp") as home:
        server = Server(Path(home))
        await server.start()
        yield server
        await server.stores.stop()


async def test_rows_values_and_tags_come_back(postgres: Postgres) -> None:
    assert await postgres.execute("INSERT INTO teams (name) VALUES ($1), ($2)", "red", "blue") == "INSERT 0 2"
    assert [row["name"] for row in await postgres.fetch("SELECT name FROM teams ORDER BY name")] == ["blue", "red"]
    row = await postgres.fetchrow("SELECT name FROM teams WHERE name = $1", "red")
    assert row is not None
    assert row["name"] == "red"
    assert await postgres.fetchrow("SELECT name FROM teams WHERE name = $1", "green") is None
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 2
    await postgres.executemany("INSERT INTO teams (name) VALUES ($1)", [("green",), ("grey",)])
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 4


async def test_jsonb_takes_and_gives_python_values_in_queries_and_copies(postgres: Postgres) -> None:
    value = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    await postgres.execute("CREATE TABLE notes (id INTEGER, body JSONB)")
    await postgres.execute("INSERT INTO notes VALUES (1, $1)", value)
    async with postgres.connection() as connection:
        await connection.copy_records_to_table("notes", records=[(2, value)])
    assert [row["body"] for row in await postgres.fetch("SELECT body FROM notes")] == [value, value]


async def test_a_transaction_is_whole_or_nothing(postgres: Postgres) -> None:
    async def two_of_a_name(connection: Connection) -> None:
        await connection.execute("INSERT INTO teams (name) VALUES ('one')")
        await connection.execute("INSERT INTO teams (name) VALUES ('one')")

    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.in_transaction(two_of_a_name)
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 0

    async def one(connection: Connection) -> int:
        await connection.execute("INSERT INTO teams (name) VALUES ('one')")
        return 7

    assert await postgres.in_transaction(one) == 7
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 1


async def test_a_transaction_in_which_nothing_happens_keeps_its_locks_for_seconds_only(postgres: Postgres) -> None:
    await postgres.execute("CREATE TABLE things (name text PRIMARY KEY)")
    hangs = asyncio.Event()

    async def insert_and_hang(connection: Connection) -> None:
        await connection.execute("INSERT INTO things VALUES ('one')")
        hangs.set()
        await asyncio.sleep(7)
        await connection.execute("INSERT INTO things VALUES ('two')")

    hanging = asyncio.ensure_future(postgres.in_transaction(insert_and_hang, timeout_s=30))
    await hangs.wait()
    began = time.monotonic()
    await postgres.execute("INSERT INTO things VALUES ('one')", timeout_s=20)
    assert 2 < time.monotonic() - began < 15
    with pytest.raises(GatewayError) as raised:
        await hanging
    assert raised.value.code == "store_unavailable"
    assert [row["name"] for row in await postgres.fetch("SELECT name FROM things")] == ["one"]


async def test_a_transaction_left_open_is_not_handed_to_the_next_user(database_url: Mapping[str, Any]) -> None:
    postgres = await Postgres.open(database_url, max_size=1)
    async with postgres.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO teams (name) VALUES ('lost')")
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 0
    await postgres.close()


async def test_mistakes_in_a_statement_are_not_called_an_outage(postgres: Postgres) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await postgres.fetch("SELECT * FROM nowhere")
    with pytest.raises(asyncpg.InterfaceError):
        await postgres.fetch("SELECT $1::int", 1, 2)
    with pytest.raises(asyncpg.DataError):
        await postgres.fetch("SELECT $1::int", "one")


async def test_a_restart_of_the_server_is_not_noticed_by_calls(server: Server) -> None:
    postgres = await Postgres.open(server.address, min_size=3)
    await server.stores.stop()
    await server.start()
    assert await asyncio.gather(*(postgres.fetchval("SELECT 1") for _ in range(20))) == [1] * 20
    await postgres.execute("CREATE TABLE t (n INTEGER)")
    await server.stores.stop()
    await server.start()
    assert await postgres.execute("INSERT INTO t VALUES (1)") == "INSERT 0 1"
    await postgres.close()


async def test_calls_made_while_the_server_restarts_wait_for_it(server: Server) -> None:
    postgres = await Postgres.open(server.address)
    await server.stores.stop()
    call = asyncio.gather(*(postgres.fetchval("SELECT 1") for _ in range(5)))
    await server.start()
    assert await call == [1] * 5
    await postgres.close()


async def test_sessions_that_were_cut_are_replaced_unseen(postgres: Postgres, database_url: Mapping[str, Any]) -> None:
    await postgres.execute("SELECT 1")
    other = await asyncpg.connect(**database_url)

    async def cut(wait_ms: int) -> None:
        number = await other.fetchval(
            "SELECT count(pg_terminate_backend(pid, $1)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            wait_ms,
        )
        assert number >= 1

    for _ in range(3):
        await cut(5000)
        await postgres.execute("INSERT INTO teams (name) VALUES (gen_random_uuid()::text)")
        # A statement on its way when the session is cut is repeated only if it reads.
        await cut(0)
        assert await postgres.fetchval("SELECT 1") == 1
    await other.close()
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 3


async def test_a_server_that_is_away_is_store_unavailable_and_comes_back(server: Server) -> None:
    told: list[int] = []
    postgres = await Postgres.open(server.address, hooks=PostgresHooks(on_unavailable=lambda: told.append(1)))
    await server.stores.stop()
    began = time.monotonic()
    with pytest.raises(GatewayError) as caught:
        await postgres.fetchval("SELECT 1")
    first_s = time.monotonic() - began
    assert caught.value.code == "store_unavailable"
    assert str(server.home) not in caught.value.message
    # Known to be away: later calls do not queue up behind a wait.
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(GatewayError):
            await postgres.execute("SELECT 1")
    assert (time.monotonic() - began) / 3 < first_s
    with pytest.raises(GatewayError):
        async with postgres.connection():
            pass
    assert len(told) == 5
    await server.start()
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


async def test_a_server_that_is_mute_is_store_unavailable_after_the_time_limit(server: Server) -> None:
    postgres = await Postgres.open(server.address, timeout_s=0.5)
    await postgres.fetchval("SELECT 1")
    server.signal_all(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(GatewayError) as caught:
            await postgres.fetchval("SELECT 1")
        assert caught.value.code == "store_unavailable"
        assert time.monotonic() - began < 10
    finally:
        server.signal_all(signal.SIGCONT)
    assert await postgres.fetchval("SELECT 1", timeout_s=10) == 1
    await postgres.close()


async def test_a_mute_server_holds_up_a_call_for_its_time_limit_and_no_longer(server: Server) -> None:
    async def two(connection: Connection) -> None:
        await connection.execute("SELECT 1")
        await connection.execute("SELECT 2")

    postgres = await Postgres.open(server.address, min_size=3, max_size=3)
    await postgres.in_transaction(two)
    server.signal_all(signal.SIGSTOP)
    try:
        for work in (
            lambda: postgres.fetchval("SELECT 1", timeout_s=1.0),
            lambda: postgres.in_transaction(two, timeout_s=1.0),
            lambda: postgres.execute("DELETE FROM pg_class WHERE false", timeout_s=1.0),
        ):
            began = time.monotonic()
            with pytest.raises(GatewayError):
                await work()
            assert time.monotonic() - began < 1.7  # the hand-back of the connection would be another second
    finally:
        server.signal_all(signal.SIGCONT)
    for _ in range(6):  # more than there are connections: none of them is lost
        assert await postgres.fetchval("SELECT 1", timeout_s=10) == 1
    await postgres.close()


async def test_after_one_that_waited_in_vain_requests_are_refused_at_once_and_others_are_not(server: Server) -> None:
    postgres = await Postgres.open(server.address)
    hurried = postgres.for_requests()
    assert await hurried.fetchval("SELECT 1") == 1
    server.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(GatewayError):
            await hurried.fetchval("SELECT 1")
        before = postgres.reach.refused
        for _ in range(100):
            with pytest.raises(GatewayError) as refused:
                await hurried.fetchval("SELECT 1")
        assert refused.value.code == "store_unavailable"
        assert postgres.reach.refused - before >= 90  # but for one that tries each second, on a slow machine
        assert postgres.reach.away_since is not None
        asked = postgres.reach.refused
        with pytest.raises(GatewayError):
            await postgres.fetchval("SELECT 1", timeout_s=0.3)
        assert postgres.reach.refused == asked
    finally:
        server.signal_all(signal.SIGCONT)
    assert await postgres.fetchval("SELECT 1", timeout_s=10) == 1
    assert postgres.reach.away_since is None
    assert await hurried.fetchval("SELECT 1") == 1
    await postgres.close()


async def test_a_slow_statement_of_nobody_who_waits_does_not_make_the_server_away(postgres: Postgres) -> None:
    with pytest.raises(GatewayError):
        await postgres.fetchval("SELECT pg_sleep(30)", timeout_s=0.2)
    assert postgres.reach.away_since is None


async def test_a_statement_over_its_time_limit_is_stopped_and_the_pool_stays_usable(postgres: Postgres) -> None:
    with pytest.raises(GatewayError) as caught:
        await postgres.fetch("SELECT pg_sleep(30)", timeout_s=0.2)
    assert caught.value.code == "store_unavailable"
    assert await postgres.fetchval("SELECT 1") == 1


async def test_a_pool_that_is_used_up_is_store_unavailable_after_the_time_limit(
    database_url: Mapping[str, Any],
) -> None:
    postgres = await Postgres.open(database_url, max_size=1)
    async with postgres.connection():
        with pytest.raises(GatewayError) as caught:
            await postgres.fetchval("SELECT 1", timeout_s=0.1)
    assert caught.value.code == "store_unavailable"
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


async def test_opening_without_a_server_is_store_unavailable_and_names_no_password() -> None:
    with pytest.raises(GatewayError) as caught:
        await Postgres.open("postgresql://user:pa55word@127.0.0.1:1/db")
    assert caught.value.code == "store_unavailable"
    assert "pa55word" not in str(caught.value)


async def test_a_pool_may_be_opened_before_its_server(server: Server) -> None:
    await server.stores.stop()
    postgres = await Postgres.open(server.address, min_size=0)
    await server.start()
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
async def test_both_spellings_of_a_url_work_with_an_ssl_mode(server: Server, scheme: str, sslmode: str) -> None:
    postgres = await Postgres.open(f"{scheme}://postgres@/postgres?host={server.address['host']}&sslmode={sslmode}")
    assert await postgres.fetchval("SELECT 1") == 1
    await postgres.close()


@pytest.mark.parametrize(
    "address",
    [
        "mysql://user:pa55word@localhost/db",
        "postgresql://user:pa55/word@localhost/db",
        "postgresql://user:pa55word@localhost/db?sslmode=maybe",
    ],
)
async def test_an_address_that_makes_no_sense_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        await Postgres.open(address)
    assert "pa55" not in str(caught.value)


async def test_behind_a_pooler_no_prepared_statement_is_kept(database_url: Mapping[str, Any]) -> None:
    postgres = await Postgres.open(database_url, listen_address=database_url, max_size=1)
    for _ in range(3):
        await postgres.fetchval("SELECT $1::int", 1)
    assert await postgres.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    await postgres.close()


async def test_the_embedded_server_keeps_the_promises_of_production(stores: Any) -> None:
    postgres = await Postgres.open(stores.postgres)
    assert await postgres.fetchval("SHOW synchronous_commit") == "on"
    assert await postgres.fetchval("SHOW TimeZone") == "UTC"
    assert (await postgres.fetchval("SHOW server_version")).startswith("18.")
    assert await postgres.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == 1
    assert os.path.basename(await postgres.fetchval("SHOW data_directory")) == "data"
    await postgres.close()
