"""A worker that dies at its first word of settled budgets: `python settler.py JOURNAL ADDRESS-AS-JSON PERIOD ROWS`.

Its batches are small, so that some rows are in the database by then and others only in its journal, and one attempt
has begun and not ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.services.ledger.settlements import NoSettlements, Settled
from gateway.store.postgres import Postgres
from tests.integration.services.ledger.budgets import write
from tests.unit.services.ledger.entries import entry


class Deadly(NoSettlements):
    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        os.write(1, journal_id.encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)


async def main(directory: Path, address: dict[str, str], period_id: int, rows: int) -> None:
    postgres = await Postgres.open(address, max_size=2)
    options = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, adopt_interval_s=60)
    ledger = await Ledger.open(directory, postgres, options, settlements=Deadly())
    open_one = entry(0)
    open_one.budgets = f"{{{period_id}}}"
    ledger.start(open_one)
    write(ledger, range(1, rows + 1), f"{{{period_id}}}")
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
