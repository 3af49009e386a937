"""`/admin/budgets`: make, list, read, change, delete, top up and reset budgets. Money is in US dollars."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.governance_bodies import BudgetChanges, BudgetPage, NewBudget, OneBudget, Reset, TopUp
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.budgets.record import BudgetFilter, BudgetRecord
from gateway.services.budgets.register import BudgetRegister
from gateway.wire.shown import shown_time, usd

_log = logging.getLogger("gateway.admin")

EndUser = Callable[[uuid.UUID, str], Awaitable[str]]


async def as_given(budget_id: uuid.UUID, user: str) -> str:
    """An `EndUser` where names are written as they are."""
    return user


class BudgetHandlers:
    """The handlers of `/admin/budgets`, over one register."""

    def __init__(self, register: BudgetRegister, end_user: EndUser = as_given) -> None:
        """`end_user(budget_id, user)` is how rows name the one whom an administrator calls `user`."""
        self._register = register
        self._end_user = end_user

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/budgets", self.create),
            ("GET", "/admin/budgets", self.page),
            ("GET", "/admin/budgets/{id}", self.get),
            ("PATCH", "/admin/budgets/{id}", self.change),
            ("DELETE", "/admin/budgets/{id}", self.delete),
            ("POST", "/admin/budgets/{id}/top-up", self.top_up),
            ("POST", "/admin/budgets/{id}/reset", self.reset),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the budget's record."""
        body = read_body(NewBudget, request.body)
        place = (body.scope, body.subject, body.model)
        fields = body.given("scope", "subject", "model")
        record = await self._register.create(place, fields, request.actor, within=request.only_team)
        _note(request, "created", record)
        return 201, shown_budget(record)

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first, each with its period in force."""
        query = read_fields(BudgetPage, request.query)
        wanted = BudgetFilter(query.scope, query.subject, query.model, request.only_team)
        records, more = await self._register.page(wanted, after=query.after, limit=query.limit)
        return 200, page([shown_budget(record) for record in records], more=more)

    async def get(self, request: AdminRequest) -> Payload:
        """One budget with its period in force."""
        query = read_fields(OneBudget, request.query)
        budget_id = path_id(request, "budget")
        record = await self._register.get(budget_id, await self._named(budget_id, query.end_user))
        request.must_own(record.team_id)
        return 200, shown_budget(record)

    async def change(self, request: AdminRequest) -> Payload:
        """The changed record."""
        body = read_body(BudgetChanges, request.body)
        given_changes(body)
        changes = body.given()
        budget_id = path_id(request, "budget")
        record = await self._register.change(budget_id, changes, request.actor, within=request.only_team)
        _note(request, "changed", record)
        return 200, shown_budget(record)

    async def delete(self, request: AdminRequest) -> Payload:
        """The record as it was, with `deleted: true`."""
        budget_id = path_id(request, "budget")
        record = await self._register.delete(budget_id, request.actor, within=request.only_team)
        _note(request, "deleted", record)
        return 200, {**shown_budget(record), "deleted": True}

    async def top_up(self, request: AdminRequest) -> Payload:
        """The record with more to spend in its period in force."""
        body = read_body(TopUp, request.body)
        budget_id = path_id(request, "budget")
        end_user = await self._named(budget_id, body.end_user)
        record = await self._register.top_up(
            budget_id, body.amount_usd, request.actor, end_user=end_user, within=request.only_team
        )
        _note(request, "topped up", record)
        return 200, shown_budget(record)

    async def reset(self, request: AdminRequest) -> Payload:
        """The record with a new period, which begins now."""
        body = read_body(Reset, request.body)
        budget_id = path_id(request, "budget")
        end_user = await self._named(budget_id, body.end_user) or None
        record = await self._register.reset(budget_id, request.actor, end_user=end_user, within=request.only_team)
        _note(request, "reset", record)
        return 200, shown_budget(record)

    async def _named(self, budget_id: uuid.UUID, user: str | None) -> str:
        return await self._end_user(budget_id, user) if user else ""


def shown_budget(record: BudgetRecord) -> dict[str, Any]:
    """A record as JSON: dollars, and times in ISO 8601, UTC."""
    fields = shown("budget", record)
    for name in ("limit", "unbounded"):
        fields[f"{name}_usd"] = _usd(fields.pop(f"{name}_nano_usd"))
    current = record.current
    fields["current"] = current and {
        "starts_at": shown_time(current.starts_at),
        "ends_at": None if current.ends_at is None else shown_time(current.ends_at),
        "settled_usd": _usd(current.settled_nano_usd),
        "topped_up_usd": _usd(current.topped_up_nano_usd),
        "lost_usd": _usd(current.lost_nano_usd),
    }
    fields["spent_usd"] = _usd(record.spent_nano_usd)
    fields["remaining_usd"] = _usd(record.remaining_nano_usd)
    return fields


def _usd(nano_usd: int | None) -> float | None:
    return None if nano_usd is None else usd(nano_usd)


def _note(request: AdminRequest, what: str, record: BudgetRecord) -> None:
    _log.info("budget %s (%s %s) %s by %s", record.id, record.scope, record.subject, what, request.actor.name)
