"""For commands that do what the admin API does, straight on the database.

They go to DATABASE_URL, or to the embedded PostgreSQL of `--home`: the running gateway's, or, when none runs, one
started for the moment. A running gateway hears of every change from the database.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.errors import GatewayError
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.keys.secret import SecretError, Secrets
from gateway.store.audit import CLI, Actor
from gateway.store.embedded import EmbeddedStores
from gateway.store.embedded_valkey import SOCKET
from gateway.store.home import Home, HomeInUseError
from gateway.store.migrate import MigrationError, apply
from gateway.store.postgres import Address, Postgres
from gateway.store.process import EmbeddedError
from gateway.store.valkey import Valkey

_DEFAULT_HOME = "~/.kubechat-gateway"
_STARTING_S = 10.0
_LONGEST_DIRECT_PATH = 90  # with the socket's own name this stays under the 108 bytes of sun_path
_PIPE_COLUMNS = 200
_PAGE = "1000"
_REFUSALS = (GatewayError, SecretError, EmbeddedError, MigrationError, HomeInUseError, ValueError, OSError)

Command = Callable[..., Any]
Result = TypeVar("Result")
# From the database and the gateway's secrets to whoever answers the request.
Find = Callable[[Postgres, Callable[[], Secrets]], Awaitable[AdminHandler]]


def database_options(command: Command) -> Command:
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


def ask(home: Path, find: Find, request: AdminRequest) -> dict[str, Any]:
    """The handler's answer; its refusal, or the store's, as the command's error."""
    home = home.expanduser().resolve()

    async def answer() -> dict[str, Any]:
        async with _database(home) as (postgres, secrets):
            handle = await find(postgres, secrets)
            _, payload = await handle(replace(request, actor=operator()))
            assert isinstance(payload, dict)  # downloads have no command
            return payload

    return _run(answer())


def with_stores(home: Path, work: Callable[[Postgres, Valkey | None], Awaitable[Result]]) -> Result:
    """What `work` gives, on the database and the counters: at REDIS_URL, or in the home of a running gateway.

    None for the counters of a home where no gateway runs: those are made anew when one starts.
    """
    home = home.expanduser().resolve()

    async def answer() -> Result:
        async with _database(home) as (postgres, _), _counters(home) as valkey:
            return await work(postgres, valkey)

    return _run(answer())


def _run(answer: Coroutine[Any, Any, Result]) -> Result:
    try:
        return asyncio.run(answer)
    except _REFUSALS as error:
        raise click.ClickException(str(error)) from None


def ask_all(
    home: Path, find: Find, query: Mapping[str, str], path: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    asked = {**query, "limit": _PAGE}
    while True:
        page = ask(home, find, AdminRequest("GET", path or {}, asked, actor=CLI))
        found += page["data"]
        if not page["has_more"]:
            return found
        asked["after"] = page["last_id"]


def operator() -> Actor:
    """Who runs the command, for the audit log: `cli:USER@HOST`, the user as the operating system knows it."""
    user_id = os.getuid()
    try:
        user = pwd.getpwuid(user_id).pw_name
    except KeyError:  # a container may run as a user that has no name
        user = str(user_id)
    return replace(CLI, name=f"{CLI.name}:{user}@{socket.gethostname()}")


def over(handler: Callable[[Postgres], AdminHandler]) -> Find:
    """For handlers that need the database alone."""

    async def find(postgres: Postgres, secrets: Callable[[], Secrets]) -> AdminHandler:
        return handler(postgres)

    return find


@asynccontextmanager
async def _database(home: Path) -> AsyncIterator[tuple[Postgres, Callable[[], Secrets]]]:
    async with AsyncExitStack() as stack:
        url = os.environ.get("DATABASE_URL", "").strip()
        address, home_secret = (url, None) if url else await _embedded(home, stack)
        postgres = await _open(address, patience_s=0.0 if url else _STARTING_S)
        stack.push_async_callback(postgres.close)
        await apply(postgres)
        yield postgres, lambda: Secrets.read(os.environ, home_secret)


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
    sockets = str(_sockets(home, stack))
    return {"host": sockets, "port": 5432, "user": "postgres", "database": "postgres", "ssl": False}


def _sockets(home: Path, stack: AsyncExitStack) -> Path:
    """Where the home's servers have their sockets, by a name that is short enough."""
    sockets = home / "run"
    if len(os.fsencode(sockets)) > _LONGEST_DIRECT_PATH:
        link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kc-"))) / "run"
        link.symlink_to(sockets)
        sockets = link
    return sockets


@asynccontextmanager
async def _counters(home: Path) -> AsyncIterator[Valkey | None]:
    async with AsyncExitStack() as stack:
        url = os.environ.get("REDIS_URL", "").strip()
        try:
            valkey = await Valkey.open(url or str(_sockets(home, stack) / SOCKET))
        except GatewayError:
            if url:
                raise
            yield None
            return
        stack.push_async_callback(valkey.close)
        yield valkey


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


def json_body(fields: dict[str, Any]) -> bytes:
    """The arguments as a body. Raises click.UsageError for those that are no UTF-8."""
    try:
        return orjson.dumps(fields)
    except TypeError:
        raise click.UsageError("The arguments must be valid UTF-8.") from None


def print_json(value: object) -> None:
    """On standard output, indented."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(titles: dict[str, bool], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns for people; `titles` says of each whether it must stay on one line."""
    console = Console(width=None if Console().is_terminal else _PIPE_COLUMNS, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, no_wrap in titles.items():
        table.add_column(title, no_wrap=no_wrap, overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """A record: JSON, or a line for each field that it has."""
    if as_json:
        print_json(record)
        return
    for name, value in record.items():
        if value is not None:
            click.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


def print_list(records: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list: JSON, or a table of these fields."""
    if as_json:
        print_json(records)
    else:
        rows = [tuple("" if record[name] is None else str(record[name]) for name in columns) for record in records]
        print_table({name.upper(): name == "id" for name in columns}, rows)
