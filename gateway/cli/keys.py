"""`keys create|list|show|change|revoke|rotate`: what `/admin/keys` does, straight on the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gateway.assembly.administration import KeyAllowances
from gateway.cli.database import Find, ask, ask_all, database_options, json_body, print_json, print_record, print_table
from gateway.cli.limits import Number
from gateway.server.admin.keys import DEFAULT_OVERLAP_S, KeyHandlers
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.budgets.period import PERIODS
from gateway.services.keys.register import KeyRegister
from gateway.services.keys.secret import Secrets
from gateway.store.audit import CLI
from gateway.store.postgres import Postgres

_NONE = ("none", ["none"])
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


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
    """Make, list, change, revoke and rotate the keys that clients call the gateway with."""


@keys.command()
@click.argument("name", required=False)
@click.option("--name", "name_option", help="The same as NAME.")
@click.option("--team", help="Team, by name; made when there is none.")
@click.option("--user", help="User: id, e-mail address or name.")
@click.option("--models", "--model", multiple=True, help="Models it may use, also `openai/*`; comma or repeat.")
@click.option("--endpoints", "--endpoint", multiple=True, help="Endpoints it may use: `default`, `files`, …")
@click.option("--expires-at", help="When it ends: ISO 8601 with a zone, as 2030-01-31T00:00:00Z.")
@click.option("--expires-in", type=Duration(), help="When it ends from now: 24h, 30d.")
@click.option(
    "--admin-role",
    type=click.Choice(["owner", "admin", "viewer"]),
    help="What it may do at the admin API: everything, what belongs to its team, or read; else nothing.",
)
@database_options
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
    admin_role: str | None,
    home: Path,
    as_json: bool,
) -> None:
    """Make a key called NAME and print it, this once."""
    if (name is None) == (name_option is None):
        raise click.UsageError("Give the key's NAME once.")
    fields: dict[str, Any] = {
        "name": name or name_option,
        "team": team,
        "user": user,
        "models": _split(models),
        "endpoints": _split(endpoints),
        "expires_at": _end(expires_at, expires_in),
        "admin_role": admin_role,
    }
    made = _ask(home, lambda handlers: handlers.create, AdminRequest("POST", body=json_body(fields), actor=CLI))
    _print_made(made, as_json=as_json, what="Made")


@keys.command(name="list")
@click.option("--team", help="Only this team's.")
@click.option("--user", help="Only this user's: id, e-mail address or name.")
@click.option("--name", help="Only those that are called so.")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked ones too.")
@database_options
def list_keys(
    *, team: str | None, user: str | None, name: str | None, include_revoked: bool, home: Path, as_json: bool
) -> None:
    """List keys, newest first."""
    given = {"team": team, "user": user, "name": name, "include_revoked": str(include_revoked).lower()}
    query = {field: value for field, value in given.items() if value is not None}
    found = ask_all(home, _find(lambda handlers: handlers.page), query)
    if as_json:
        print_json(found)
    elif found:
        _print_table(found)
    else:
        click.echo("There are no keys.")


@keys.command()
@click.argument("key_id", metavar="ID")
@database_options
def show(*, key_id: str, home: Path, as_json: bool) -> None:
    """Show the key ID, with its limits and its budget."""
    record = _ask(home, lambda handlers: handlers.get, AdminRequest("GET", path={"id": key_id}, actor=CLI))
    print_record(record, as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--name", help="Its new name.")
@click.option(
    "--models", "--model", multiple=True, help="Models it may use, also `openai/*`; comma or repeat, or `none`."
)
@click.option("--endpoints", "--endpoint", multiple=True, help="Endpoints it may use, or `none` for the default ones.")
@click.option("--expires-at", help="When it ends: ISO 8601 with a zone, or `none` for no end.")
@click.option("--expires-in", type=Duration(), help="When it ends from now: 24h, 30d.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse it, or take it again.")
@click.option("--rpm", type=Number(), help="Requests per minute, or `none`.")
@click.option("--tpm", type=Number(), help="Tokens per minute, or `none`.")
@click.option("--max-concurrency", type=Number(), help="Requests at once, or `none`.")
@click.option("--budget-usd", help="What it may spend in a period, in US dollars, or `none` for no budget.")
@click.option("--budget-period", type=click.Choice(PERIODS), help="The budget's period. [default: month]")
@database_options
def change(
    *,
    key_id: str,
    name: str | None,
    expires_at: str | None,
    expires_in: int | None,
    models: tuple[str, ...],
    endpoints: tuple[str, ...],
    budget_usd: str | None,
    budget_period: str | None,
    home: Path,
    as_json: bool,
    **plain: Any,
) -> None:
    """Change the key ID: what is not named stays, `none` takes a restriction away."""
    if budget_period is not None and budget_usd in (None, "none"):
        raise click.UsageError("--budget-period goes with --budget-usd.")
    given = {
        **plain,
        "models": _split(models),
        "endpoints": _split(endpoints),
        "expires_at": _end(expires_at, expires_in),
        "budget": budget_usd if budget_usd in (None, "none") else _budget(budget_usd, budget_period),
    }
    fields = {field: None if value in _NONE else value for field, value in given.items() if value is not None}
    if name is not None:
        fields["name"] = name
    request = AdminRequest("PATCH", path={"id": key_id}, body=json_body(fields), actor=CLI)
    print_record(_ask(home, lambda handlers: handlers.update, request), as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@database_options
def revoke(*, key_id: str, home: Path, as_json: bool) -> None:
    """End the key ID for good."""
    request = AdminRequest("DELETE", path={"id": key_id}, actor=CLI)
    record = _ask(home, lambda handlers: handlers.revoke, request)
    if as_json:
        print_json(record)
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
@database_options
def rotate(*, key_id: str, overlap: int, home: Path, as_json: bool) -> None:
    """Make a key in the place of the key ID, on the same terms, and print it, this once."""
    request = AdminRequest("POST", path={"id": key_id}, body=json_body({"overlap_s": overlap}), actor=CLI)
    made = _ask(home, lambda handlers: handlers.rotate, request)
    _print_made(made, as_json=as_json, what="Rotated to")


def _ask(home: Path, which: Callable[[KeyHandlers], AdminHandler], request: AdminRequest) -> dict[str, Any]:
    return ask(home, _find(which), request)


def _find(which: Callable[[KeyHandlers], AdminHandler]) -> Find:
    async def find(postgres: Postgres, secrets: Callable[[], Secrets]) -> AdminHandler:
        register = KeyRegister(postgres, secrets(), lambda key_id: None, KeyAllowances())
        await register.check_secret()
        return which(KeyHandlers(register))

    return find


def _split(words: tuple[str, ...]) -> list[str] | None:
    found = [part.strip() for word in words for part in word.split(",") if part.strip()]
    return found or None


def _end(at: str | None, in_s: int | None) -> str | None:
    if at is not None and in_s is not None:
        raise click.UsageError("Give --expires-at or --expires-in, not both.")
    return at if in_s is None else (datetime.now(UTC) + timedelta(seconds=in_s)).isoformat()


def _budget(limit_usd: str, period: str | None) -> dict[str, Any]:
    return {"limit_usd": limit_usd, **({} if period is None else {"period": period})}


def _print_made(made: dict[str, Any], *, as_json: bool, what: str) -> None:
    if as_json:
        print_json(made)
        return
    # The key alone on stdout, so that KEY=$(… keys create app) works.
    click.echo(f"{what} key {made['id']} ({made['name']}). Keep it now: it is not shown again.", err=True)
    click.echo(made["key"])


def _print_table(found: list[dict[str, Any]]) -> None:
    rows = []
    for key in found:
        state = key["state"] + (" (rotate: old secret)" if key["previous_secret"] else "")
        models = ", ".join(key["models"]) if key["models"] else "all declared"
        endpoints = ", ".join(key["endpoints"]) if key["endpoints"] else "default"
        cells = (key["id"], key["name"], key["hint"], state, key["team"] or "", models, endpoints)
        rows.append((*cells, key["expires_at"] or "never", key["admin_role"] or ""))
    titles = ("ID", "NAME", "KEY", "STATE", "TEAM", "MODELS", "ENDPOINTS", "EXPIRES", "ADMIN")
    print_table({title: title in ("ID", "KEY", "STATE") for title in titles}, rows)
