"""`limits list|show|set|change|delete`: what `/admin/limits` does, straight on the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway.cli.database import Find, ask, ask_all, database_options, json_body, over, print_list, print_record
from gateway.server.admin.limits import LimitHandlers
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.limits.limit import NUMBERS
from gateway.services.limits.register import LimitRegister
from gateway.store.audit import CLI
from gateway.store.follower import nobody_follows
from gateway.store.scopes import SCOPES

Command = Callable[..., Any]
_SHOWN = ("id", "scope", "subject", "model", *NUMBERS)
_SHORT = {"requests_per_minute": "--rpm", "tokens_per_minute": "--tpm"}
_NONE = "none"


class Number(click.ParamType[int | str]):
    """A whole number, or `none` for no limit."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word."""
        if value == _NONE or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not (value.isascii() and value.isdigit()):
            self.fail(f"{value!r} is neither a whole number nor `{_NONE}`", param, ctx)
        return int(value)


def _numbers(command: Command) -> Command:
    """An option for each number, and what to do while Valkey is away."""
    on_store_failure = click.option(
        "--on-store-failure", type=click.Choice(("deny", "allow", "local")), help="While Valkey is away."
    )
    command = on_store_failure(command)
    for name in reversed(NUMBERS):
        flags = [f"--{name.replace('_', '-')}", *filter(None, [_SHORT.get(name)])]
        command = click.option(*flags, name, type=Number(), help=f"{name.replace('_', ' ').capitalize()}.")(command)
    return command


@click.group(name="limits")
def limits() -> None:
    """Limit requests, tokens and requests at once."""


@limits.command(name="list")
@click.option("--scope", type=click.Choice(SCOPES), help="Only of this scope.")
@click.option("--subject", help="Only on this id or name.")
@click.option("--model", help="Only for this model.")
@database_options
def list_limits(*, scope: str | None, subject: str | None, model: str | None, home: Path, as_json: bool) -> None:
    """List limits, newest first. What the configuration declares is in the configuration."""
    given = {"scope": scope, "subject": subject, "model": model}
    query = {name: value for name, value in given.items() if value is not None}
    print_list(ask_all(home, _find(lambda handlers: handlers.page), query), _SHOWN, as_json=as_json)


@limits.command()
@click.argument("limit_id", metavar="ID")
@database_options
def show(*, limit_id: str, home: Path, as_json: bool) -> None:
    """Show the limit ID."""
    request = AdminRequest("GET", path={"id": limit_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.get), request), as_json=as_json)


@limits.command(name="set")
@click.argument("scope", type=click.Choice(SCOPES))
@click.argument("subject", default="")
@click.option("--model", help="For this model alone, of a team or a key.")
@_numbers
@database_options
def set_limit(*, scope: str, subject: str, model: str | None, home: Path, as_json: bool, **numbers: Any) -> None:
    """Limit SUBJECT (an id, or a model's, provider's or target's name) in the place of what was set before."""
    fields = {"scope": scope, "subject": subject, "model": model, **_given(numbers)}
    request = AdminRequest("POST", body=json_body(fields), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.put), request), as_json=as_json)


@limits.command()
@click.argument("limit_id", metavar="ID")
@_numbers
@database_options
def change(*, limit_id: str, home: Path, as_json: bool, **numbers: Any) -> None:
    """Change numbers of the limit ID; `none` takes one away."""
    request = AdminRequest("PATCH", path={"id": limit_id}, body=json_body(_given(numbers)), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.change), request), as_json=as_json)


@limits.command()
@click.argument("limit_id", metavar="ID")
@database_options
def delete(*, limit_id: str, home: Path, as_json: bool) -> None:
    """Take the limit ID out of force."""
    request = AdminRequest("DELETE", path={"id": limit_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.delete), request), as_json=as_json)


def _given(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value == _NONE else value for name, value in numbers.items() if value is not None}


def _find(which: Callable[[LimitHandlers], AdminHandler]) -> Find:
    return over(lambda postgres: which(LimitHandlers(LimitRegister(postgres, nobody_follows))))
