"""`migrate`: bring the database's schema up to this version."""

from __future__ import annotations

import asyncio
import os

import click

from gateway.errors import GatewayError
from gateway.store.migrate import CONTRACT, EXPAND, Kind, MigrationError, apply
from gateway.store.postgres import Postgres


@click.command()
@click.option("--contract", is_flag=True, help="Also apply what an older version could not run with; stop those first.")
def migrate(*, contract: bool) -> None:
    """Apply what is pending to the database at DATABASE_URL. An embedded one is migrated by `serve` itself."""
    url = os.environ.get("DATABASE_URL", "").strip()
    if not url:
        raise click.ClickException("DATABASE_URL is not set; an embedded database is migrated by `serve` itself")
    kinds: tuple[Kind, ...] = (EXPAND, CONTRACT) if contract else (EXPAND,)
    try:
        applied = asyncio.run(_migrate(url, kinds))
    except (GatewayError, MigrationError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to do")


async def _migrate(url: str, kinds: tuple[Kind, ...]) -> list[str]:
    postgres = await Postgres.open(url, max_size=1)
    try:
        return [str(migration) for migration in await apply(postgres, kinds)]
    finally:
        await postgres.close()
