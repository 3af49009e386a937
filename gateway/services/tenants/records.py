"""Organisations, teams, members and users as an administrator sees them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg

from gateway.errors import GatewayError

_NOT_NOTED = ("created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class OrganisationRecord:
    """One organisation. Disabled or deleted, it takes its teams' keys with it."""

    id: str
    name: str
    disabled: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """One team. `weight` is its share of a queue before a provider's limit, against other teams' weights."""

    id: str
    name: str
    organisation_id: str | None
    organisation: str | None
    weight: float
    disabled: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One user, and the ids of the teams that have it as a member."""

    id: str
    name: str | None
    email: str | None
    disabled: bool
    teams: list[str]
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A user as a member of a team; `id` is the user's."""

    id: str
    team_id: str
    name: str | None
    email: str | None
    created_at: datetime


Record = OrganisationRecord | TeamRecord | UserRecord | MemberRecord


def organisation_record(row: asyncpg.Record) -> OrganisationRecord:
    """From a row of the query `organisations`."""
    return OrganisationRecord(**_texts(row))


def team_record(row: asyncpg.Record) -> TeamRecord:
    """From a row of the query `teams`."""
    return TeamRecord(**_texts(row))


def user_record(row: asyncpg.Record) -> UserRecord:
    """From a row of the query `users`."""
    return UserRecord(**{**_texts(row), "teams": [str(team_id) for team_id in row["teams"]]})


def member_record(row: asyncpg.Record) -> MemberRecord:
    """From a row of the query `members`."""
    return MemberRecord(**_texts(row))


def facts(record: Record | None) -> dict[str, Any] | None:
    """What the audit log keeps of a record."""
    if record is None:
        return None
    return {name: value for name, value in asdict(record).items() if name not in _NOT_NOTED}


def not_found(what: str, row_id: object) -> GatewayError:
    """The refusal of an id that names nothing."""
    return GatewayError("not_found", f"There is no {what} with the id {row_id}.")


def deleted(what: str, row_id: object) -> GatewayError:
    """The refusal to change what is deleted."""
    return GatewayError("conflict", f"The {what} {row_id} has been deleted; it can no longer be changed.")


def name_taken(what: str, name: str) -> GatewayError:
    """The refusal of a name that another one has or, deleted, had."""
    return GatewayError(
        "conflict", f"There is or was a {what} called '{name}'; names are not used again.", param="name"
    )


def _texts(row: asyncpg.Record) -> dict[str, Any]:
    """The row with its ids as text."""
    return {
        name: str(value) if value is not None and (name == "id" or name.endswith("_id")) else value
        for name, value in row.items()
    }
