"""`budgets list|show|create|change|delete|top-up|reset`: what `/admin/budgets` does, straight on the database.

`budgets verify|holders|write-off` are in `books.py`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from gateway.assembly.options import end_users_keys
from gateway.cli.books import holders, verify, write_off
from gateway.cli.database import Find, ask, ask_all, database_options, json_body, print_list, print_record
from gateway.pipeline.reporting import Reporting
from gateway.server.admin.budgets import BudgetHandlers
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.budgets.budget import END_USER
from gateway.services.budgets.period import PERIODS
from gateway.services.budgets.register import BudgetRegister
from gateway.services.keys.secret import SecretError, Secrets
from gateway.store.audit import CLI
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Postgres
from gateway.store.scopes import SCOPES

Command = Callable[..., Any]
_SHOWN = ("id", "name", "scope", "subject", "model", "limit_usd", "period", "hard", "remaining_usd")
_SCOPES = (*SCOPES, END_USER)
_OPTIONS = (
    click.option("--name", help="What to call it."),
    click.option("--period", type=click.Choice(PERIODS), help="How long it lasts; month where nothing is said."),
    click.option("--reset-day", type=int, help="The day of the month on which a month begins, 1 to 31."),
    click.option("--time-zone", help="Whose midnight ends a period, as Europe/Berlin; UTC where nothing is said."),
    click.option("--threshold", "thresholds", type=int, multiple=True, help="Percent at which to alert; repeat."),
    click.option("--hard/--soft", "hard", default=None, help="Never exceed it, or only alert."),
    click.option(
        "--on-too-dear",
        type=click.Choice(("clamp", "refuse")),
        help="A request whose worst case does not fit: cut its output short, or refuse it.",
    ),
    click.option("--unbounded-usd", help="What a request may cost whose worst case cannot be computed; or `none`."),
    click.option("--max-end-users", type=int, help="Of an end_user budget: users of the key in a period."),
    click.option("--on-store-failure", type=click.Choice(("deny", "allow", "local")), help="While Valkey is away."),
)


def _fields(command: Command) -> Command:
    """The options that `create` and `change` have in common."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(name="budgets")
def budgets() -> None:
    """Limit what may be spent. Amounts are in US dollars."""


for _command in (verify, holders, write_off):
    budgets.add_command(_command)


@budgets.command(name="list")
@click.option("--scope", type=click.Choice(_SCOPES), help="Only of this scope.")
@click.option("--subject", help="Only on this id or name.")
@click.option("--model", help="Only for this model.")
@database_options
def list_budgets(*, scope: str | None, subject: str | None, model: str | None, home: Path, as_json: bool) -> None:
    """List budgets, newest first."""
    given = {"scope": scope, "subject": subject, "model": model}
    query = {name: value for name, value in given.items() if value is not None}
    print_list(ask_all(home, _find(lambda handlers: handlers.page), query), _SHOWN, as_json=as_json)


@budgets.command()
@click.argument("budget_id", metavar="ID")
@click.option("--end-user", help="Of an end_user budget: whose period to show.")
@database_options
def show(*, budget_id: str, end_user: str | None, home: Path, as_json: bool) -> None:
    """Show the budget ID, its period in force, and what is left of it."""
    query = {} if end_user is None else {"end_user": end_user}
    _print(
        home, lambda handlers: handlers.get, AdminRequest("GET", {"id": budget_id}, query, actor=CLI), as_json=as_json
    )


@budgets.command()
@click.argument("scope", type=click.Choice(_SCOPES))
@click.argument("subject", default="")
@click.option("--limit-usd", required=True, help="What may be spent in a period.")
@click.option("--model", help="On this model alone, of a team or a key.")
@_fields
@database_options
def create(
    *, scope: str, subject: str, limit_usd: str, model: str | None, home: Path, as_json: bool, **fields: Any
) -> None:
    """Give SUBJECT (an id, or a model's, provider's or target's name) a budget, beside those that it has."""
    body = {"scope": scope, "subject": subject, "model": model, "limit_usd": limit_usd, **_given(fields)}
    _print(
        home, lambda handlers: handlers.create, AdminRequest("POST", body=json_body(body), actor=CLI), as_json=as_json
    )


@budgets.command()
@click.argument("budget_id", metavar="ID")
@click.option("--limit-usd", help="What may be spent in a period.")
@_fields
@database_options
def change(*, budget_id: str, limit_usd: str | None, home: Path, as_json: bool, **fields: Any) -> None:
    """Change the budget ID. Another period, reset day or time zone begins a new period now."""
    body = json_body(_given({"limit_usd": limit_usd, **fields}))
    _print(
        home, lambda handlers: handlers.change, AdminRequest("PATCH", {"id": budget_id}, {}, body, CLI), as_json=as_json
    )


@budgets.command()
@click.argument("budget_id", metavar="ID")
@database_options
def delete(*, budget_id: str, home: Path, as_json: bool) -> None:
    """Take the budget ID out of force."""
    _print(
        home, lambda handlers: handlers.delete, AdminRequest("DELETE", {"id": budget_id}, actor=CLI), as_json=as_json
    )


@budgets.command(name="top-up")
@click.argument("budget_id", metavar="ID")
@click.argument("amount_usd")
@click.option("--end-user", help="Of an end_user budget: whose.")
@database_options
def top_up(*, budget_id: str, amount_usd: str, end_user: str | None, home: Path, as_json: bool) -> None:
    """Add AMOUNT_USD to what may be spent in the period in force, and in no other."""
    body = json_body(_given({"amount_usd": amount_usd, "end_user": end_user}))
    _print(
        home, lambda handlers: handlers.top_up, AdminRequest("POST", {"id": budget_id}, {}, body, CLI), as_json=as_json
    )


@budgets.command()
@click.argument("budget_id", metavar="ID")
@click.option("--end-user", help="Of an end_user budget: whose; of all where it is not given.")
@database_options
def reset(*, budget_id: str, end_user: str | None, home: Path, as_json: bool) -> None:
    """Begin a new period of the budget ID now, with nothing spent."""
    body = json_body(_given({"end_user": end_user}))
    _print(
        home, lambda handlers: handlers.reset, AdminRequest("POST", {"id": budget_id}, {}, body, CLI), as_json=as_json
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    return {name: None if value == "none" and name == "unbounded_usd" else value for name, value in given.items()}


def _print(
    home: Path, which: Callable[[BudgetHandlers], AdminHandler], request: AdminRequest, *, as_json: bool
) -> None:
    record = ask(home, _find(which), request)
    if not as_json:
        current = record.pop("current") or {}
        thresholds = [f"{percent} %" for percent in record["thresholds"]]
        record = {**record, "thresholds": thresholds, **current}
    print_record(record, as_json=as_json)


def _find(which: Callable[[BudgetHandlers], AdminHandler]) -> Find:
    async def find(postgres: Postgres, secrets: Callable[[], Secrets]) -> AdminHandler:
        register = BudgetRegister(postgres, nobody_follows)

        async def end_user(budget_id: uuid.UUID, user: str) -> str:
            # Only the gateway's configuration says whether names are hashed, so it must be one that is there.
            return await register.end_user_among(budget_id, [user, *_hashes(user, secrets)])

        return which(BudgetHandlers(register, end_user))

    return find


def _hashes(user: str, secrets: Callable[[], Secrets]) -> Iterator[str]:
    """What may be written in the place of `user`, as far as the gateway's secret is known here."""
    with contextlib.suppress(SecretError):
        for key in end_users_keys(secrets()):
            yield Reporting(max_tags=0, max_users=0, hash_key=key).end_user({"user": user})
