from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.store.postgres import Postgres
from tests.integration.services.ledger import writer
from tests.integration.services.ledger.stores import until

_ROUNDS = 3
_WORKERS = 3


async def _killed_writer(directory: Path, address: Mapping[str, Any], number: int, chance: random.Random) -> list[str]:
    """Run a writer, kill it somewhere in its work; what it said before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", writer.__name__, str(directory), json.dumps(dict(address)), str(number),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = [await process.stdout.readline()]
    wanted = chance.randrange(1, 6000)
    while len(said) < wanted:
        said.append(await process.stdout.readline())
    process.kill()
    said += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


async def test_workers_killed_at_any_moment_lose_no_row_and_leave_none_twice(
    postgres: Postgres, database_url: Mapping[str, Any], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print("seed", seed)
    journal = tmp_path / "journal"
    said: list[str] = []
    for turn in range(_ROUNDS):
        numbers = [turn * _WORKERS + worker for worker in range(_WORKERS)]
        lines = await asyncio.gather(*(_killed_writer(journal, database_url, n + 1, chance) for n in numbers))
        said += [line for of_one in lines for line in of_one]
    options = LedgerOptions(copy_interval_ms=5, adopt_interval_s=0.02, fsync="never")
    ledger = await Ledger.open(journal, postgres, options)
    await until(lambda: len([path for path in journal.iterdir() if path.is_dir()]) == 1)
    rows = await postgres.fetch("SELECT request_id::text AS id, outcome FROM usage_costs")
    times = Counter(row["id"] for row in rows)
    outcome = {row["id"]: row["outcome"] for row in rows}
    ended = {line[2:] for line in said if line.startswith("E")}
    started = {line[2:] for line in said if line.startswith("S")}
    assert len(started) > _ROUNDS * _WORKERS
    assert max(times.values()) == 1
    assert started <= times.keys()
    assert {outcome[each] for each in ended} == {"ok"}
    # At the kill each worker had at most one attempt whose start or end was written and not yet said.
    assert len(times.keys() - started) <= _ROUNDS * _WORKERS
    assert len({each for each in started - ended if outcome[each] == "ok"}) <= _ROUNDS * _WORKERS
    assert ledger.garbage_bytes == ledger.refused_rows == 0
    await ledger.close()
    assert [path.name for path in journal.iterdir()] == []
