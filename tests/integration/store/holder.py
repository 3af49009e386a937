"""A stand-in for the gateway: starts the stores of a home, says where they are, and waits.

`python holder.py HOME [UID]`: as UID, whom /etc/passwd need not know, when given. SIGTERM stops the stores; so does
SIGINT, after the time a drain might take, with the database asked once more first.
"""

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

import orjson

from gateway.store.embedded import EmbeddedStores
from gateway.store.launch import step_down
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey


async def hold(home: Path) -> None:
    stop: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set_result, False)
    loop.add_signal_handler(signal.SIGINT, stop.set_result, True)
    stores = EmbeddedStores(home)
    addresses = await stores.start()
    assert addresses.postgres is not None
    assert addresses.valkey is not None
    print(orjson.dumps({"postgres": addresses.postgres, "valkey": addresses.valkey}).decode(), flush=True)
    if await stop:
        await asyncio.sleep(0.5)
        postgres, valkey = await Postgres.open(addresses.postgres), await Valkey.open(addresses.valkey)
        print(await postgres.fetchval("SELECT 'served to the end'"), flush=True)
        await valkey.ping()
        await postgres.close()
        await valkey.close()
    await stores.stop()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.environ.pop("HOME", None)
        # The interpreter may lie below a directory of root's: this user may read everything, write what is its own.
        cap_dac_read_search = 2
        step_down(ctypes.CDLL(None, use_errno=True), int(sys.argv[2]), int(sys.argv[2]), cap_dac_read_search)
    asyncio.run(hold(Path(sys.argv[1])))
