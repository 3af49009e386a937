"""`organisations create|list|show|change|delete`: what `/admin/organisations` does, straight on the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from gateway.cli.database import Find, ask, ask_all, database_options, json_body, over, print_list, print_record
from gateway.server.admin.organisations import OrganisationHandlers
from gateway.server.admin.request import AdminHandler, AdminRequest
from gateway.services.tenants.organisations import Organisations
from gateway.store.audit import CLI


@click.group(name="organisations")
def organisations() -> None:
    """Make, list, change and delete organisations, which teams belong to."""


@organisations.command()
@click.argument("name")
@database_options
def create(*, name: str, home: Path, as_json: bool) -> None:
    """Make an organisation called NAME."""
    request = AdminRequest("POST", body=json_body({"name": name}), actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.create), request), as_json=as_json)


@organisations.command(name="list")
@click.option("--all", "include_deleted", is_flag=True, help="Deleted ones too.")
@database_options
def list_organisations(*, include_deleted: bool, home: Path, as_json: bool) -> None:
    """List organisations, newest first."""
    query = {"include_deleted": str(include_deleted).lower()}
    found = ask_all(home, _find(lambda handlers: handlers.page), query)
    print_list(found, ("id", "name", "disabled", "deleted_at"), as_json=as_json)


@organisations.command()
@click.argument("organisation_id", metavar="ID")
@database_options
def show(*, organisation_id: str, home: Path, as_json: bool) -> None:
    """Show the organisation ID."""
    request = AdminRequest("GET", path={"id": organisation_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.get), request), as_json=as_json)


@organisations.command()
@click.argument("organisation_id", metavar="ID")
@click.option("--name", help="Its new name.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse its teams' keys, or take them again.")
@database_options
def change(*, organisation_id: str, name: str | None, disabled: bool | None, home: Path, as_json: bool) -> None:
    """Change the organisation ID."""
    given = {"name": name, "disabled": disabled}
    body = json_body({field: value for field, value in given.items() if value is not None})
    request = AdminRequest("PATCH", path={"id": organisation_id}, body=body, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.update), request), as_json=as_json)


@organisations.command()
@click.argument("organisation_id", metavar="ID")
@database_options
def delete(*, organisation_id: str, home: Path, as_json: bool) -> None:
    """Mark the organisation ID as deleted: its teams' keys are refused from now on."""
    request = AdminRequest("DELETE", path={"id": organisation_id}, actor=CLI)
    print_record(ask(home, _find(lambda handlers: handlers.delete), request), as_json=as_json)


def _find(which: Callable[[OrganisationHandlers], AdminHandler]) -> Find:
    return over(lambda postgres: which(OrganisationHandlers(Organisations(postgres))))
