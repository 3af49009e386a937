"""A worker that stops with its rows inserted and not committed: `python hanger.py JOURNAL ADDRESS-AS-JSON PERIOD`.

Once it is continued it goes on as any other.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncpg

from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.store.postgres import Postgres
from tests.integration.services.ledger.budgets import write


async def main(directory: Path, address: dict[str, str], period_id: int) -> None:
    postgres = await Postgres.open(address, max_size=2)
    fetch: Any = asyncpg.Connection.fetch
    stopped = False

    async def fetch_and_stop(self: Any, query: str, *args: object, **options: Any) -> Any:
        nonlocal stopped
        found = await fetch(self, query, *args, **options)
        if "usage_costs_staging" in query and not stopped:
            stopped = True
            os.write(1, b"hangs\n")
            os.kill(os.getpid(), signal.SIGSTOP)
        return found

    asyncpg.Connection.fetch = fetch_and_stop  # type: ignore[method-assign]
    ledger = await Ledger.open(directory, postgres, LedgerOptions(copy_interval_ms=5))
    write(ledger, range(1000, 1010), f"{{{period_id}}}")
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])))
