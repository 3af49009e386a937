"""LISTEN against a real server: notifications arrive, gaps are filled with a reload, silence is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import asyncpg
import pytest

from gateway.errors import GatewayError
from gateway.store.postgres import Postgres, PostgresHooks


@pytest.fixture
async def other(database_url: Mapping[str, Any]) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(**database_url)
    yield connection
    await connection.close()


async def _until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def _cut_all(other: asyncpg.Connection[asyncpg.Record]) -> None:
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_a_notification_reaches_every_callback_of_its_channel_and_no_other(
    postgres: Postgres, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    first: list[str] = []
    second: list[str] = []
    elsewhere: list[str] = []
    await asyncio.gather(
        postgres.listen("changes", first.append),
        postgres.listen("changes", second.append),
        postgres.listen("elsewhere", elsewhere.append),
    )
    await other.execute("SELECT pg_notify('changes', 'teams:1'), pg_notify('elsewhere', 'x')")
    await _until(lambda: bool(first and second and elsewhere))
    assert (first, second, elsewhere) == (["teams:1"], ["teams:1"], ["x"])
    assert postgres.listener_stale_s() == 0.0


async def test_a_callback_that_fails_stops_neither_the_others_nor_the_listener(
    postgres: Postgres, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    heard: list[str] = []

    def fail(payload: str) -> None:
        raise ZeroDivisionError

    await postgres.listen("changes", fail)
    await postgres.listen("changes", heard.append)
    await other.execute("SELECT pg_notify('changes', '1')")
    await _until(lambda: heard == ["1"])
    await other.execute("SELECT pg_notify('changes', '2')")
    await _until(lambda: heard == ["1", "2"])


async def test_a_listener_that_was_cut_connects_again_and_says_reload_on_every_channel(
    database_url: Mapping[str, Any], other: asyncpg.Connection[asyncpg.Record]
) -> None:
    reconnects: list[int] = []
    hooks = PostgresHooks(on_listener_reconnect=lambda: reconnects.append(1))
    postgres = await Postgres.open(database_url, hooks=hooks)
    heard: list[str] = []
    elsewhere: list[str] = []
    await postgres.listen("changes", heard.append)
    await postgres.listen("elsewhere", elsewhere.append)
    for turn in range(1, 3):
        await _cut_all(other)
        await _until(lambda turn=turn: heard.count("reload") == turn and elsewhere.count("reload") == turn)
    await other.execute("SELECT pg_notify('changes', 'again')")
    await _until(lambda: heard[-1] == "again")
    assert reconnects == [1, 1]
    assert postgres.listener_stale_s() == 0.0
    await postgres.close()


async def test_a_pause_in_which_no_session_is_allowed_is_told_and_ends_in_a_reload(
    database_url: Mapping[str, Any], stores: Any, postgres: Postgres
) -> None:
    admin = await asyncpg.connect(**stores.postgres)
    name = database_url["database"]
    heard: list[str] = []
    await postgres.listen("changes", heard.append)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await _until(lambda: postgres.listener_stale_s() > 0.3)
    earlier = postgres.listener_stale_s()
    await asyncio.sleep(0.1)
    assert postgres.listener_stale_s() > earlier
    assert heard == []
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await _until(lambda: heard == ["reload"])
    assert postgres.listener_stale_s() == 0.0
    await admin.close()


async def test_a_session_that_is_open_but_delivers_nothing_is_stale_and_replaced(
    postgres: Postgres, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    heard: list[str] = []
    await postgres.listen("changes", heard.append)
    # What a transaction pooler does to LISTEN: the session goes on, the channels are gone.
    session = postgres._listener._connection
    assert session is not None
    async with postgres._listener._busy:
        await session.execute("UNLISTEN *")
    await _until(lambda: postgres.listener_stale_s() > 2.0)
    await _until(lambda: heard == ["reload"])
    assert postgres.listener_stale_s() == 0.0
    await other.execute("SELECT pg_notify('changes', 'again')")
    await _until(lambda: heard[-1] == "again")


async def test_listening_without_a_server_is_store_unavailable_and_hears_reload_when_it_comes(
    database_url: Mapping[str, Any], stores: Any
) -> None:
    admin = await asyncpg.connect(**stores.postgres)
    name = database_url["database"]
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres = await Postgres.open(database_url, min_size=0, timeout_s=0.3)
    heard: list[str] = []
    with pytest.raises(GatewayError) as caught:
        await postgres.listen("changes", heard.append)
    assert caught.value.code == "store_unavailable"
    assert postgres.listener_stale_s() > 0
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await _until(lambda: heard == ["reload"])
    await postgres.close()
    await admin.close()


async def test_nobody_listening_is_not_stale_and_closing_ends_the_session(
    database_url: Mapping[str, Any], other: asyncpg.Connection[asyncpg.Record]
) -> None:
    postgres = await Postgres.open(database_url)
    assert postgres.listener_stale_s() == 0.0
    await postgres.listen("changes", lambda payload: None)
    await postgres.close()

    async def sessions() -> int:
        return await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    deadline = time.monotonic() + 20
    while await sessions():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
