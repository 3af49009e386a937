"""A worker that writes attempts until it is killed: `python writer.py JOURNAL ADDRESS-AS-JSON NUMBER`.

After each start it prints `S <id>`, after each end `E <id>`: what the parent has read happened before the kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.store.postgres import Postgres
from tests.unit.services.ledger.entries import complete, entry


async def main(directory: Path, address: dict[str, str], worker: int) -> None:
    postgres = await Postgres.open(address, max_size=2)
    options = LedgerOptions(segment_mb=0.0625, copy_interval_ms=5, batch_rows=50, adopt_interval_s=0.05)
    ledger = await Ledger.open(directory, postgres, options)
    number = worker * 1_000_000
    while True:
        for _ in range(20):
            number += 1
            one = entry(number)
            ledger.start(one)
            os.write(1, f"S {one.request_id}\n".encode())
            if number % 25:
                ledger.end(complete(one))
                os.write(1, f"E {one.request_id}\n".encode())
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])))
