"""Migrations against a real server: once each, in order, one process at a time, and refused when unsafe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import pytest

import gateway
from gateway.errors import GatewayError
from gateway.store.migrate import CONTRACT, EXPAND, MigrationError, apply, pending, released
from gateway.store.postgres import Postgres

_APPLY = """
import asyncio, sys
from pathlib import Path
import orjson
from gateway.store.migrate import apply, released
from gateway.store.postgres import Postgres

async def main():
    postgres = await Postgres.open(orjson.loads(sys.argv[1]))
    print(len(await apply(postgres, migrations=released(Path(sys.argv[2])))))
    await postgres.close()

asyncio.run(main())
"""


@pytest.fixture
async def empty(empty_database_url: Mapping[str, Any]) -> AsyncIterator[Postgres]:
    postgres = await Postgres.open(empty_database_url)
    yield postgres
    await postgres.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("-- kind: expand\nCREATE TABLE a (n INTEGER);\n")
    (tmp_path / "0002_second.sql").write_text("-- kind: expand\nALTER TABLE a ADD COLUMN m INTEGER;\n")
    return tmp_path


async def test_migrations_are_applied_in_order_and_once(empty: Postgres, folder: Path) -> None:
    migrations = released(folder)
    assert [str(m) for m in await pending(empty, migrations)] == ["0001_first", "0002_second"]
    assert await apply(empty, migrations=migrations) == migrations
    assert await pending(empty, migrations) == []
    assert await apply(empty, migrations=migrations) == []
    rows = await empty.fetch("SELECT version, name, kind, checksum FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(m.version, m.name, m.kind, m.checksum) for m in migrations]


async def test_a_later_file_is_applied_alone(empty: Postgres, folder: Path) -> None:
    await apply(empty, migrations=released(folder))
    (folder / "0003_third.sql").write_text("-- kind: expand\nCREATE TABLE b ();\n")
    assert [m.version for m in await apply(empty, migrations=released(folder))] == [3]


async def test_a_file_that_fails_leaves_nothing_of_itself_and_keeps_those_before(empty: Postgres, folder: Path) -> None:
    (folder / "0003_bad.sql").write_text("-- kind: expand\nCREATE TABLE b ();\nCREATE TABLE a ();\n")
    with pytest.raises(MigrationError, match=r"0003_bad failed: .*already exists"):
        await apply(empty, migrations=released(folder))
    assert [m.version for m in await pending(empty, released(folder))] == [3]
    assert await empty.fetchval("SELECT to_regclass('b')") is None


async def test_an_edited_released_file_is_refused(empty: Postgres, folder: Path) -> None:
    await apply(empty, migrations=released(folder))
    first = folder / "0001_first.sql"
    first.write_text(first.read_text() + "-- a comment\n")
    for work in (apply, pending):
        with pytest.raises(MigrationError, match="0001_first was edited"):
            await work(empty, migrations=released(folder))


async def test_contract_migrations_wait_for_the_explicit_command(empty: Postgres, folder: Path) -> None:
    (folder / "0003_drop.sql").write_text("-- kind: contract\nALTER TABLE a DROP COLUMN n;\n")
    (folder / "0004_more.sql").write_text("-- kind: expand\nCREATE TABLE b ();\n")
    migrations = released(folder)
    assert [m.version for m in await apply(empty, migrations=migrations)] == [1, 2, 4]
    assert [(m.version, m.kind) for m in await pending(empty, migrations)] == [(3, CONTRACT)]
    assert [m.version for m in await apply(empty, kinds=(EXPAND, CONTRACT), migrations=migrations)] == [3]


@pytest.mark.parametrize(
    ("version", "seen", "refused"),
    [
        ("0.0.9", "0 seconds", True),
        ("0.0.9", "1 hour", False),
        (gateway.__version__, "0 seconds", False),
        ("99.0.0", "0 seconds", False),
    ],
)
async def test_contract_migrations_are_refused_while_an_older_worker_lives(
    postgres: Postgres, tmp_path: Path, version: str, seen: str, refused: bool
) -> None:
    await postgres.execute(
        "INSERT INTO gateway_workers (id, version, last_seen) VALUES (uuidv7(), $1, now() - $2::text::interval)",
        version,
        seen,
    )
    (tmp_path / "9000_drop.sql").write_text("-- kind: contract\nDROP TABLE plugin_installations;\n")
    migrations = [*released(), *released(tmp_path)]
    if refused:
        with pytest.raises(MigrationError, match=r"version 0\.0\.9"):
            await apply(postgres, kinds=(CONTRACT,), migrations=migrations)
    else:
        assert [m.version for m in await apply(postgres, kinds=(CONTRACT,), migrations=migrations)] == [9000]


async def test_several_processes_at_once_apply_each_file_once(
    empty_database_url: Mapping[str, Any], empty: Postgres, folder: Path
) -> None:
    (folder / "0003_slow.sql").write_text("-- kind: expand\nSELECT pg_sleep(0.5);\nCREATE TABLE c ();\n")
    arguments = ("-c", _APPLY, orjson.dumps(dict(empty_database_url)).decode(), str(folder))
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [(await process.communicate())[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(output) for output in outputs) == [0, 3]


async def test_a_newer_expand_is_accepted_during_a_roll_out_and_a_newer_contract_is_not(
    empty: Postgres, folder: Path
) -> None:
    older = released(folder)
    (folder / "0003_newer.sql").write_text("-- kind: expand\nCREATE TABLE b ();\n")
    await apply(empty, migrations=released(folder))
    assert await apply(empty, migrations=older) == []
    (folder / "0004_newest.sql").write_text("-- kind: contract\nDROP TABLE b;\n")
    await apply(empty, kinds=(EXPAND, CONTRACT), migrations=released(folder))
    with pytest.raises(MigrationError, match=r"0004_newest, which gateway .* does not know"):
        await apply(empty, migrations=older)


async def test_a_database_with_an_old_number_that_has_no_file_is_refused(empty: Postgres, folder: Path) -> None:
    await apply(empty, migrations=released(folder))
    with pytest.raises(MigrationError, match="0001_first"):
        await pending(empty, released(folder)[1:])


async def test_a_database_that_is_away_is_store_unavailable() -> None:
    postgres = await Postgres.open("postgresql://nobody@127.0.0.1:1/none", min_size=0)
    with pytest.raises(GatewayError) as caught:
        await apply(postgres)
    assert caught.value.code == "store_unavailable"
    await postgres.close()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("1_short.sql", "-- kind: expand\n", "not NNNN_name"),
        ("0003_kindless.sql", "SELECT 1;\n", "first line"),
        ("0003_kind.sql", "-- kind: other\n", "first line"),
        ("0002_again.sql", "-- kind: expand\n", "number 0002 is taken"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(folder: Path, name: str, text: str, complaint: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(MigrationError, match=complaint):
        released(folder)


def test_the_released_migrations_are_numbered_without_a_gap() -> None:
    assert [m.version for m in released()] == list(range(1, len(released()) + 1))


async def test_what_team_admins_alone_have_set_is_theirs_after_the_upgrade_and_all_else_an_owners(
    empty: Postgres,
) -> None:
    await apply(empty, migrations=list(takewhile(lambda each: each.name != "set_by_owner", released())))
    limit = "INSERT INTO quota_limits (scope, subject, requests_per_minute) VALUES ('key', $1, 1) RETURNING id::text"
    budget = (
        "INSERT INTO cost_budgets (budget_name, limit_nano_usd, monthly_limit) VALUES ($1, 1, 0) RETURNING id::text"
    )
    noted = "INSERT INTO audit_log (actor, actor_role, action, object_type, object_id) VALUES ('x', $1, $2, $3, $4)"
    histories = {
        "theirs": [("admin", "created"), ("admin", "changed")],
        "written off since": [("admin", "created"), ("master", "lost")],
        "an owner's": [("owner", "created"), ("admin", "changed")],
        "changed by an owner": [("admin", "created"), ("master", "changed")],
        "unknown": [],
    }
    for name, history in histories.items():
        for what, statement in (("limit", limit), ("budget", budget)):
            object_id = await empty.fetchval(statement, name)
            for role, action in history:
                await empty.execute(noted, role, action, what, object_id)
    await apply(empty)
    for query in (
        "SELECT subject, set_by_owner FROM quota_limits",
        "SELECT budget_name, set_by_owner FROM cost_budgets",
    ):
        found = {name: by_owner for name, by_owner in await empty.fetch(query)}
        assert [name for name, by_owner in found.items() if not by_owner] == ["theirs", "written off since"]
        assert len(found) == len(histories)
