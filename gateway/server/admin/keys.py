"""`/admin/keys`: make, list, read, change, revoke and rotate keys."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from gateway.errors import GatewayError
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.keys.key import ENDPOINT_WORDS
from gateway.services.keys.register import LONGEST_OVERLAP_S, KeyRecord, KeyRegister, KeyTerms, parse_id

_log = logging.getLogger("gateway.admin")

# Promised by the admin API, enforced from the governance release on.
UNENFORCED = frozenset({"rpm", "tpm", "max_concurrency", "budget"})
DEFAULT_OVERLAP_S = 86_400
_LATEST = timedelta(days=36_525)
_MOST_STARS = 3

Payload = tuple[int, dict[str, Any]]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


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


_Text = StringConstraints(strip_whitespace=True, min_length=1, max_length=200)
_Name = Annotated[str, _Text, AfterValidator(_printable)]
_Models = Annotated[list[Annotated[_Name, AfterValidator(_pattern)]], Field(min_length=1, max_length=256)]
_Endpoints = Annotated[list[Annotated[str, AfterValidator(_endpoint)]], Field(min_length=1, max_length=64)]
# Not strict: JSON has no dates. A number is Unix seconds.
_Expiry = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_to_come)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class NewKey(_Body):
    """`POST /admin/keys`."""

    name: _Name
    team: _Name | None = None
    user: _Name | None = None
    models: _Models | None = None
    endpoints: _Endpoints | None = None
    expires_at: _Expiry | None = None


class KeyChanges(_Body):
    """`PATCH /admin/keys/{id}`: what is left away stays; null sets a field back to "no restriction"."""

    name: _Name = ""
    models: _Models | None = None
    endpoints: _Endpoints | None = None
    expires_at: _Expiry | None = None
    disabled: bool = False


class Rotation(_Body):
    """`POST /admin/keys/{id}/rotate`: for how long the old key still works, in seconds."""

    overlap_s: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_S)] = DEFAULT_OVERLAP_S


class KeyPage(BaseModel):
    """The query of `GET /admin/keys`; `after` is the last id of the page before."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: uuid.UUID | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    team: _Name | None = None
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
        body = read_body(NewKey, request.body, unenforced=UNENFORCED)
        record, token = await self._register.create(KeyTerms(**dict(body)))
        _note(request, "created", record)
        return 201, {**shown(record), "key": token}

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first: `{"data": […], "has_more", "last_id"}`."""
        query = read_fields(KeyPage, request.query)
        records, more = await self._register.page(
            after=query.after, limit=query.limit, team=query.team, revoked=query.include_revoked
        )
        return 200, {
            "object": "list",
            "data": [shown(record) for record in records],
            "has_more": more,
            "last_id": records[-1].id if records else None,
        }

    async def get(self, request: AdminRequest) -> Payload:
        """One key's record."""
        return 200, shown(await self._register.get(_id(request)))

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        key_id = _id(request)
        body = read_body(KeyChanges, request.body, unenforced=UNENFORCED)
        changes = {name: getattr(body, name) for name in body.model_fields_set}
        if not changes:
            raise GatewayError("missing_field", f"Nothing to change; give one of {', '.join(KeyChanges.model_fields)}.")
        record = await self._register.update(key_id, changes)
        _note(request, "changed", record)
        return 200, shown(record)

    async def revoke(self, request: AdminRequest) -> Payload:
        """The record, with `deleted: true`. Revoking twice is no error."""
        record = await self._register.revoke(_id(request))
        _note(request, "revoked", record)
        return 200, {**shown(record), "deleted": True}

    async def rotate(self, request: AdminRequest) -> Payload:
        """201 with the new key's record and, this once, the key itself as `key`."""
        key_id = _id(request)
        body = read_body(Rotation, request.body)
        record, token = await self._register.rotate(key_id, body.overlap_s)
        _note(request, "rotated", record)
        return 201, {**shown(record), "key": token}


def shown(record: KeyRecord) -> dict[str, Any]:
    """A record as JSON: times in ISO 8601, UTC."""
    fields: dict[str, Any] = {"object": "key"}
    for name, value in dataclasses.asdict(record).items():
        fields[name] = (
            value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        )
    return fields


def _id(request: AdminRequest) -> uuid.UUID:
    found = parse_id(request.path["id"])
    if found is None:
        raise GatewayError("not_found", "There is no key with this id; ids are UUIDs, as `GET /admin/keys` lists them.")
    return found


def _note(request: AdminRequest, what: str, record: KeyRecord) -> None:
    _log.info("key %s %s by %s", record.id, what, request.actor)
