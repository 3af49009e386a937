"""`/admin/keys`: make, list, read, change, revoke and rotate keys."""

from __future__ import annotations

import difflib
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, Field

from gateway.errors import GatewayError
from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.fields import Body, Name, Page
from gateway.server.admin.governance_bodies import BudgetOfKey, NumberOfLimit
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.keys.allowances import ALLOWANCES
from gateway.services.keys.key import ENDPOINT_WORDS
from gateway.services.keys.register import LONGEST_OVERLAP_S, KeyRecord, KeyRegister, KeyTerms
from gateway.store.audit import AdminRole
from gateway.wire.shown import usd

_log = logging.getLogger("gateway.admin")

DEFAULT_OVERLAP_S = 86_400
_LATEST = timedelta(days=36_525)
_MOST_STARS = 3
# A team's admin makes keys of these roles: the others would see or do more than itself.
_ROLES_OF_A_TEAM = (None, "admin")


def _pattern(text: str) -> str:
    if text.count("*") > _MOST_STARS:
        raise ValueError(f"at most {_MOST_STARS} `*`")
    return text


def _endpoint(word: str) -> str:
    if word not in ENDPOINT_WORDS:
        near = difflib.get_close_matches(word, ENDPOINT_WORDS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(ENDPOINT_WORDS))}"
        raise ValueError(f"no such endpoint; {hint}")
    return word


def _to_come(moment: datetime) -> datetime:
    now = datetime.now(UTC)
    if moment <= now:
        raise ValueError("this time has passed (to end a key now, revoke it)")
    if moment - now > _LATEST:
        raise ValueError("more than a hundred years ahead; leave it away for a key without end")
    return moment


_Models = Annotated[list[Annotated[Name, AfterValidator(_pattern)]], Field(min_length=1, max_length=256)]
_Endpoints = Annotated[list[Annotated[str, AfterValidator(_endpoint)]], Field(min_length=1, max_length=64)]
# Not strict: JSON has no dates. A number is Unix seconds.
_Expiry = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_to_come)]


class NewKey(Body):
    """`POST /admin/keys`."""

    name: Name
    team: Name | None = None
    user: Name | None = None
    models: _Models | None = None
    endpoints: _Endpoints | None = None
    expires_at: _Expiry | None = None
    admin_role: AdminRole | None = None
    rpm: NumberOfLimit | None = None
    tpm: NumberOfLimit | None = None
    max_concurrency: NumberOfLimit | None = None
    budget: BudgetOfKey | None = None


class KeyChanges(Body):
    """`PATCH /admin/keys/{id}`: what is left away stays; null sets a field back to "no restriction"."""

    name: Name = ""
    models: _Models | None = None
    endpoints: _Endpoints | None = None
    expires_at: _Expiry | None = None
    disabled: bool = False
    rpm: NumberOfLimit | None = None
    tpm: NumberOfLimit | None = None
    max_concurrency: NumberOfLimit | None = None
    budget: BudgetOfKey | None = None


class Rotation(Body):
    """`POST /admin/keys/{id}/rotate`: for how long the old key still works, in seconds."""

    overlap_s: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_S)] = DEFAULT_OVERLAP_S


class KeyPage(Page):
    """The query of `GET /admin/keys`."""

    team: Name | None = None
    user: Name | None = None
    name: Name | None = None
    include_revoked: bool = False


class KeyHandlers:
    """The handlers of `/admin/keys`, over one register."""

    def __init__(self, register: KeyRegister) -> None:
        self._register = register

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/keys", self.create),
            ("GET", "/admin/keys", self.page),
            ("GET", "/admin/keys/{id}", self.get),
            ("PATCH", "/admin/keys/{id}", self.update),
            ("DELETE", "/admin/keys/{id}", self.revoke),
            ("POST", "/admin/keys/{id}/rotate", self.rotate),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the key's record and, this once, the key itself as `key`."""
        body = read_body(NewKey, request.body)
        _refuse_more_than_own(request, body.admin_role, body.models)
        terms = {name: value for name, value in body if name not in ALLOWANCES}
        allowances = _inside({name: value for name, value in given_changes(body).items() if name in ALLOWANCES})
        record, token = await self._register.create(
            KeyTerms(**terms, allowances=allowances), request.actor, within=request.only_team
        )
        _note(request, "created", record)
        return 201, {**shown_key(record), "key": token}

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first: `{"data": […], "has_more", "last_id"}`."""
        query = read_fields(KeyPage, request.query)
        records, more = await self._register.page(
            after=query.after,
            limit=query.limit,
            team=query.team,
            name=query.name,
            user=query.user,
            revoked=query.include_revoked,
            within=request.only_team,
        )
        return 200, page([shown_key(record) for record in records], more=more)

    async def get(self, request: AdminRequest) -> Payload:
        """One key's record."""
        record = await self._register.get(path_id(request, "key"))
        request.must_own(record.team_id)
        return 200, shown_key(record)

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        body = read_body(KeyChanges, request.body)
        changes = _inside(given_changes(body))
        key_id = await self._own(request, body.models)
        record = await self._register.update(key_id, changes, request.actor)
        _note(request, "changed", record)
        return 200, shown_key(record)

    async def revoke(self, request: AdminRequest) -> Payload:
        """The record, with `deleted: true`. Revoking twice is no error."""
        record = await self._register.revoke(await self._own(request), request.actor)
        _note(request, "revoked", record)
        return 200, {**shown_key(record), "deleted": True}

    async def rotate(self, request: AdminRequest) -> Payload:
        """201 with the new key's record and, this once, the key itself as `key`."""
        body = read_body(Rotation, request.body)
        record, token = await self._register.rotate(await self._own(request), body.overlap_s, request.actor)
        _note(request, "rotated", record)
        return 201, {**shown_key(record), "key": token}

    async def _own(self, request: AdminRequest, models: list[str] | None = None) -> uuid.UUID:
        """The path's key, which the asker may change. A key's team and role never change, so it stays so."""
        key_id = path_id(request, "key")
        if request.only_team is not None:
            record = await self._register.get(key_id)
            request.must_own(record.team_id)
            _refuse_more_than_own(request, record.admin_role, models)
        return key_id


def shown_key(record: KeyRecord) -> dict[str, Any]:
    """A record as JSON: the budget in US dollars."""
    fields = shown("key", record)
    if record.budget is not None:
        budget = dict(record.budget)
        limit_usd = usd(budget.pop("limit_nano_usd"))
        fields["budget"] = {"limit_usd": limit_usd, **budget}
    return fields


def _inside(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as the register takes them: the budget in nano-dollars."""
    budget = fields.get("budget")
    return {**fields, "budget": budget.given()} if isinstance(budget, BudgetOfKey) else fields


def _refuse_more_than_own(request: AdminRequest, admin_role: AdminRole | None, models: list[str] | None) -> None:
    """A team's admin hands out no role above its own, and no provider's models that are not declared."""
    if request.only_team is None:
        return
    if admin_role not in _ROLES_OF_A_TEAM:
        raise GatewayError("role_not_allowed", f"A team's admin has no say over {admin_role}s.", param="admin_role")
    if any("/" in entry for entry in models or ()):
        raise GatewayError("role_not_allowed", "Only an owner opens undeclared `provider/model`s.", param="models")


def _note(request: AdminRequest, what: str, record: KeyRecord) -> None:
    _log.info("key %s %s by %s", record.id, what, request.actor.name)
