"""`users create|list|show|change|delete`: what `/admin/users` does, straight on the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from gateway.cli.database import Find, ask, ask_all, database_options, json_body, over, print_list, print_record
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.server.admin.users import UserHandlers
from gateway.services.tenants.users import Users
from gateway.store.audit import CLI


@click.group(name="users")
def users() -> None:
    """Make, list, change and delete users."""


@users.command()
@click.option("--name", help="The user's name.")
@click.option("--email", help="The user's e-mail address.")
@database_options
def create(*, name: str | None, email: str | None, home: Path, as_json: bool) -> None:
    """Make a user with a name, an e-mail address, or both."""
    request = AdminRequest("POST", body=json_body({"name": name, "email": email}), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.create), request), as_json=as_json)


@users.command(name="list")
@click.option("--team-id", help="Only this team's members.")
@click.option("--all", "include_deleted", is_flag=True, help="Deleted ones too.")
@database_options
def list_users(*, team_id: str | None, include_deleted: bool, home: Path, as_json: bool) -> None:
    """List users."""
    query = {"include_deleted": str(include_deleted).lower()}
    if team_id is not None:
        query["team_id"] = team_id
    found = ask_all(home, _find(lambda handlers: handlers.page), query)
    print_list(found, ("id", "name", "email", "disabled", "deleted_at"), as_json=as_json)


@users.command()
@click.argument("user_id", metavar="ID")
@database_options
def show(*, user_id: str, home: Path, as_json: bool) -> None:
    """Show the user ID."""
    request = AdminRequest("GET", path={"id": user_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.get), request), as_json=as_json)


@users.command()
@click.argument("user_id", metavar="ID")
@click.option("--name", help="The new name.")
@click.option("--email", help="The new e-mail address.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse the user's keys, or take them again.")
@database_options
def change(
    *, user_id: str, name: str | None, email: str | None, disabled: bool | None, home: Path, as_json: bool
) -> None:
    """Change the user ID."""
    given = {"name": name, "email": email, "disabled": disabled}
    body = json_body({field: value for field, value in given.items() if value is not None})
    request = AdminRequest("PATCH", path={"id": user_id}, body=body, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.update), request), as_json=as_json)


@users.command()
@click.argument("user_id", metavar="ID")
@database_options
def delete(*, user_id: str, home: Path, as_json: bool) -> None:
    """Mark the user ID as deleted: the user's keys are refused from now on."""
    request = AdminRequest("DELETE", path={"id": user_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.delete), request), as_json=as_json)


def _find(which: Callable[[UserHandlers], AdminHandler]) -> Find:
    return over(lambda postgres: which(UserHandlers(Users(postgres))))
