"""`teams create|list|show|change|delete` and its members: what `/admin/teams` does, straight on the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway.cli.database import Find, ask, ask_all, database_options, json_body, over, print_list, print_record
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.server.admin.teams import TeamHandlers
from gateway.services.tenants.teams import Teams
from gateway.store.audit import CLI


@click.group(name="teams")
def teams() -> None:
    """Make, list, change and delete teams, and say who is a member."""


@teams.command()
@click.argument("name")
@click.option("--organisation-id", help="The organisation that it belongs to.")
@click.option("--weight", type=float, default=1.0, show_default=True, help="Its share of a queue before a provider.")
@database_options
def create(*, name: str, organisation_id: str | None, weight: float, home: Path, as_json: bool) -> None:
    """Make a team called NAME."""
    body = json_body({"name": name, "organisation_id": organisation_id, "weight": weight})
    made = ask(home, _find(lambda handlers: handlers.create), AdminRequest("POST", body=body, actor=CLI))
    print_record(made, as_json=as_json)


@teams.command(name="list")
@click.option("--organisation-id", help="Only this organisation's.")
@click.option("--all", "include_deleted", is_flag=True, help="Deleted ones too.")
@database_options
def list_teams(*, organisation_id: str | None, include_deleted: bool, home: Path, as_json: bool) -> None:
    """List teams, newest first."""
    query = {"include_deleted": str(include_deleted).lower()}
    if organisation_id is not None:
        query["organisation_id"] = organisation_id
    found = ask_all(home, _find(lambda handlers: handlers.page), query)
    print_list(found, ("id", "name", "organisation", "weight", "disabled", "deleted_at"), as_json=as_json)


@teams.command()
@click.argument("team_id", metavar="ID")
@database_options
def show(*, team_id: str, home: Path, as_json: bool) -> None:
    """Show the team ID."""
    request = AdminRequest("GET", path={"id": team_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.get), request), as_json=as_json)


@teams.command()
@click.argument("team_id", metavar="ID")
@click.option("--name", help="Its new name.")
@click.option("--organisation-id", help="The organisation that it belongs to from now on; `none` for none.")
@click.option("--weight", type=float, help="Its share of a queue before a provider.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse its keys, or take them again.")
@database_options
def change(
    *,
    team_id: str,
    name: str | None,
    organisation_id: str | None,
    weight: float | None,
    disabled: bool | None,
    home: Path,
    as_json: bool,
) -> None:
    """Change the team ID."""
    given = {"name": name, "organisation_id": organisation_id, "weight": weight, "disabled": disabled}
    fields: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if fields.get("organisation_id") == "none":
        fields["organisation_id"] = None
    request = AdminRequest("PATCH", path={"id": team_id}, body=json_body(fields), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.update), request), as_json=as_json)


@teams.command()
@click.argument("team_id", metavar="ID")
@database_options
def delete(*, team_id: str, home: Path, as_json: bool) -> None:
    """Mark the team ID as deleted: its keys are refused from now on."""
    request = AdminRequest("DELETE", path={"id": team_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.delete), request), as_json=as_json)


@teams.command()
@click.argument("team_id", metavar="ID")
@database_options
def members(*, team_id: str, home: Path, as_json: bool) -> None:
    """List the members of the team ID."""
    found = ask_all(home, _find(lambda handlers: handlers.members), {}, {"id": team_id})
    print_list(found, ("id", "name", "email"), as_json=as_json)


@teams.command(name="add-member")
@click.argument("team_id", metavar="ID")
@click.argument("user_id", metavar="USER_ID")
@database_options
def add_member(*, team_id: str, user_id: str, home: Path, as_json: bool) -> None:
    """Make the user USER_ID a member of the team ID."""
    request = AdminRequest("POST", path={"id": team_id}, body=json_body({"user_id": user_id}), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.add_member), request), as_json=as_json)


@teams.command(name="remove-member")
@click.argument("team_id", metavar="ID")
@click.argument("user_id", metavar="USER_ID")
@database_options
def remove_member(*, team_id: str, user_id: str, home: Path, as_json: bool) -> None:
    """Take the user USER_ID out of the team ID."""
    request = AdminRequest("DELETE", path={"id": team_id, "user_id": user_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.remove_member), request), as_json=as_json)


def _find(which: Callable[[TeamHandlers], AdminHandler]) -> Find:
    return over(lambda postgres: which(TeamHandlers(Teams(postgres))))
