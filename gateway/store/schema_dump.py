"""Write what all migrations together make, as SQL: `python -m gateway.store.schema_dump schema.sql`."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.store.embedded import EmbeddedStores
from gateway.store.embedded_postgres import postgres_programs
from gateway.store.migrate import CONTRACT, EXPAND, apply
from gateway.store.postgres import Postgres

_HEAD = "-- The schema after all migrations, written by `make schema`: change a migration, never this file.\n\n"
# What differs from one server or run to the next: comments with versions, session settings, pg_dump's guard.
_NOISE = re.compile(r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)\n", re.MULTILINE)


def dump(address: Mapping[str, Any]) -> str:
    """Return the schema of the database at `address` (host, port, user, database), always in the same form.

    Raises subprocess.CalledProcessError when pg_dump fails.
    """
    command = [
        str(postgres_programs() / "pg_dump"),
        *("--schema-only", "--no-owner", "--no-privileges"),
        # The months' partitions come and go with the calendar.
        "--exclude-table=*_[0-9][0-9][0-9][0-9]_[0-9][0-9]",
        *("--host", address["host"], "--port", str(address["port"])),
        *("--username", address["user"], "--dbname", address["database"]),
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    return _HEAD + re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", text)).strip() + "\n"


async def make_schema() -> str:
    """Return the schema that all migrations make in an empty database, from a server of its own."""
    with tempfile.TemporaryDirectory(prefix="kubechat-schema-") as home:
        stores = EmbeddedStores(Path(home), valkey=False, settings={"fsync": "off"})
        addresses = await stores.start()
        assert addresses.postgres is not None
        try:
            postgres = await Postgres.open(addresses.postgres)
            try:
                await apply(postgres, kinds=(EXPAND, CONTRACT))
            finally:
                await postgres.close()
            return await asyncio.to_thread(dump, addresses.postgres)
        finally:
            await stores.stop()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(make_schema()), encoding="utf-8")
