"""`keys create|list|revoke|rotate`: what `/admin/keys` does, straight on the database.

It goes to DATABASE_URL, or to the embedded PostgreSQL of `--home`: the running gateway's, or, when none
runs, one started for the moment. A running gateway hears of every change from the database.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.errors import GatewayError
from gateway.server.admin.keys import DEFAULT_OVERLAP_S, KeyHandlers
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.keys.register import KeyRegister
from gateway.services.keys.secret import SecretError, Secrets
from gateway.store.embedded import EmbeddedStores
from gateway.store.home import Home, HomeInUseError
from gateway.store.migrate import MigrationError, apply
from gateway.store.postgres import Address, Postgres
from gateway.store.process import EmbeddedError

_DEFAULT_HOME = "~/.kubechat-gateway"
_STARTING_S = 10.0
_LONGEST_DIRECT_PATH = 90  # with the socket's own name this stays under the 108 bytes of sun_path
_PIPE_COLUMNS = 200
_PAGE = "1000"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_REFUSALS = (GatewayError, SecretError, EmbeddedError, MigrationError, HomeInUseError, ValueError, OSError)

Command = Callable[..., Any]


class Duration(click.ParamType[int]):
    """A number of seconds, or of `s`, `m`, `h`, `d`: `90`, `24h`, `30d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhd]?)", value.strip())
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90s, 24h or 30d", param, ctx)
        return int(match[1]) * _UNITS_S[match[2] or "s"]


@click.group(name="keys")
def keys() -> None:
    """Make, list, revoke and rotate the keys that clients call the gateway with."""


def _options(command: Command) -> Command:
    """`--home` and `--json`, which every command has."""
    json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    home = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="GATEWAY_HOME",
        default=_DEFAULT_HOME,
        show_default=True,
        help="Home directory of the embedded stores; not used when DATABASE_URL is set.",
    )
    return json_flag(home(command))


@keys.command()
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The same as NAME.")
@click.option("--team", help="Team, by name; made when there is none.")
@click.option("--user", help="User: id, e-mail address or name.")
@click.option("--models", "--model", multiple=True, help="Models it may use, also `openai/*`; comma or repeat.")
@click.option("--endpoints", "--endpoint", multiple=True, help="Endpoints it may use: `default`, `files`, …")
@click.option("--expires-at", help="When it ends: ISO 8601 with a zone, as 2030-01-31T00:00:00Z.")
@click.option("--expires-in", type=Duration(), help="When it ends from now: 24h, 30d.")
@_options
def create(
    *,
    name: str | None,
    name_option: str | None,
    team: str | None,
    user: str | None,
    models: tuple[str, ...],
    endpoints: tuple[str, ...],
    expires_at: str | None,
    expires_in: int | None,
    home: Path,
    as_json: bool,
) -> None:
    """Make a key called NAME and print it, this once."""
    if (name is None) == (name_option is None):
        raise click.UsageError("Give the key's NAME once.")
    if expires_at is not None and expires_in is not None:
        raise click.UsageError("Give --expires-at or --expires-in, not both.")
    if expires_in is not None:
        expires_at = (datetime.now(UTC) + timedelta(seconds=expires_in)).isoformat()
    fields: dict[str, Any] = {
        "name": name or name_option,
        "team": team,
        "user": user,
        "models": _split(models),
        "endpoints": _split(endpoints),
        "expires_at": expires_at,
    }
    made = _ask(home, lambda handlers: handlers.create, AdminRequest("POST", body=_json(fields), actor="cli"))
    _print_made(made, as_json=as_json, what="Made")


@keys.command(name="list")
@click.option("--team", help="Only this team's.")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked ones too.")
@_options
def list_keys(*, team: str | None, include_revoked: bool, home: Path, as_json: bool) -> None:
    """List keys, newest first."""
    query = {"limit": _PAGE, "include_revoked": str(include_revoked).lower()}
    if team is not None:
        query["team"] = team
    found: list[dict[str, Any]] = []
    more = True
    while more:
        page = _ask(home, lambda handlers: handlers.page, AdminRequest("GET", query=query, actor="cli"))
        found += page["data"]
        more = page["has_more"]
        query["after"] = page["last_id"]
    if as_json:
        _print_json(found)
    elif found:
        _print_table(found)
    else:
        click.echo("There are no keys.")


@keys.command()
@click.argument("key_id", metavar="ID")
@_options
def revoke(*, key_id: str, home: Path, as_json: bool) -> None:
    """End the key ID for good."""
    request = AdminRequest("DELETE", path={"id": key_id}, actor="cli")
    record = _ask(home, lambda handlers: handlers.revoke, request)
    if as_json:
        _print_json(record)
    else:
        click.echo(f"Revoked key {record['id']} ({record['name']}).")


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    type=Duration(),
    default=DEFAULT_OVERLAP_S,
    show_default="24h",
    help="For how long the old key still works.",
)
@_options
def rotate(*, key_id: str, overlap: int, home: Path, as_json: bool) -> None:
    """Make a key in the place of the key ID, on the same terms, and print it, this once."""
    request = AdminRequest("POST", path={"id": key_id}, body=_json({"overlap_s": overlap}), actor="cli")
    made = _ask(home, lambda handlers: handlers.rotate, request)
    _print_made(made, as_json=as_json, what="Rotated to")


# --- the database -----------------------------------------------------------------------------


def _ask(home: Path, which: Callable[[KeyHandlers], AdminHandler], request: AdminRequest) -> dict[str, Any]:
    """The handler's answer; its refusal, or the store's, as the command's error."""

    home = home.expanduser().resolve()

    async def ask() -> dict[str, Any]:
        async with _register(home) as register:
            _, payload = await which(KeyHandlers(register))(request)
            return payload

    try:
        return asyncio.run(ask())
    except _REFUSALS as error:
        raise click.ClickException(str(error)) from None


@asynccontextmanager
async def _register(home: Path) -> AsyncIterator[KeyRegister]:
    async with AsyncExitStack() as stack:
        url = os.environ.get("DATABASE_URL", "").strip()
        address, home_secret = (url, None) if url else await _embedded(home, stack)
        postgres = await _open(address, patience_s=0.0 if url else _STARTING_S)
        stack.push_async_callback(postgres.close)
        secrets = Secrets.read(os.environ, home_secret)
        await apply(postgres)
        register = KeyRegister(postgres, secrets, on_written=lambda key_id: None)
        await register.check_secret()
        yield register


async def _embedded(home: Path, stack: AsyncExitStack) -> tuple[Address, Callable[[], bytes]]:
    """The address of the home's PostgreSQL, started for the moment when no gateway runs there."""
    try:
        own = Home.open(home)
    except HomeInUseError:
        # Home without its lock: the file is there, or appears whole.
        return _running(home, stack), Home(home, -1).secret_key
    stack.callback(own.close)
    stores = EmbeddedStores(home, valkey=False)
    addresses = await stores.start()
    stack.push_async_callback(stores.stop)
    assert addresses.postgres is not None
    return addresses.postgres, own.secret_key


def _running(home: Path, stack: AsyncExitStack) -> Address:
    sockets = home / "run"
    if len(os.fsencode(sockets)) > _LONGEST_DIRECT_PATH:
        link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kc-"))) / "run"
        link.symlink_to(sockets)
        sockets = link
    return {"host": str(sockets), "port": 5432, "user": "postgres", "database": "postgres", "ssl": False}


async def _open(address: Address, *, patience_s: float) -> Postgres:
    """The database, waiting `patience_s` for a gateway that is just starting its own."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await Postgres.open(address, max_size=1)
        except GatewayError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(0.1)


# --- what is read and printed -----------------------------------------------------------------


def _split(words: tuple[str, ...]) -> list[str] | None:
    found = [part.strip() for word in words for part in word.split(",") if part.strip()]
    return found or None


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # an argument that is no UTF-8
        raise click.UsageError("The arguments must be valid UTF-8.") from None


def _print_json(value: object) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _print_made(made: dict[str, Any], *, as_json: bool, what: str) -> None:
    if as_json:
        _print_json(made)
        return
    # The key alone on stdout, so that KEY=$(… keys create app) works.
    click.echo(f"{what} key {made['id']} ({made['name']}). Keep it now: it is not shown again.", err=True)
    click.echo(made["key"])


def _print_table(found: list[dict[str, Any]]) -> None:
    console = Console(width=None if Console().is_terminal else _PIPE_COLUMNS, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ID", "NAME", "KEY", "STATE", "TEAM", "MODELS", "ENDPOINTS", "EXPIRES"):
        table.add_column(title, no_wrap=title in ("ID", "KEY", "STATE"), overflow="fold")
    for key in found:
        state = key["state"] + (" (rotate: old secret)" if key["previous_secret"] else "")
        models = ", ".join(key["models"]) if key["models"] else "all declared"
        endpoints = ", ".join(key["endpoints"]) if key["endpoints"] else "default"
        cells = (key["id"], key["name"], key["hint"], state, key["team"] or "", models, endpoints)
        table.add_row(*(Text(cell) for cell in (*cells, key["expires_at"] or "never")))
    console.print(table)
