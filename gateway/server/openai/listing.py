"""Lists of files, batches and fine-tuning jobs: from our own table, each object fetched by its id.

The provider's own list holds everybody's objects, so a page of it may hold none of the caller's. Ours is exact and
costs what the page costs, whichever providers the objects lie at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.pipeline.references import missing
from gateway.server.openai.objects import checked_id
from gateway.services.ownership.service import Owned, Owner, Ownership
from gateway.wire.openai_objects import FILE

# The object's bytes and its document, no bytes to pass it over; None where the provider has it no more.
Fetched = tuple[bytes, dict[str, Any]] | None
Fetch = Callable[[Owned], Awaitable[Fetched]]

MAX_PAGE = 100
_MAX_LIMIT = 10_000
_DEFAULT = {FILE: MAX_PAGE}
_AT_ONCE = 8
# Objects looked at for one page: a filter by purpose may pass over many.
_MAX_SCANNED = 1000
_KNOWN = {FILE: frozenset({"after", "limit", "order", "purpose"})}
_KNOWN_ELSE = frozenset({"after", "limit"})


async def list_objects(ownership: Ownership, owner: Owner, kind: str, query: Mapping[str, str], fetch: Fetch) -> bytes:
    """One page as OpenAI answers it, each object in the provider's own bytes.

    Raises invalid_field for a bad parameter, not_found for an `after` that is not on the list, and what `fetch`
    raises.
    """
    limit, purpose, oldest_first = _read_query(kind, query)
    position = await _position(ownership, owner, kind, query.get("after"))
    found: list[tuple[str, bytes]] = []
    scanned = 0
    more = True
    while more and len(found) < limit and scanned < _MAX_SCANNED:
        wanted = limit - len(found)
        rows = await ownership.page(owner, kind, after=position, limit=wanted + 1, oldest_first=oldest_first)
        more = len(rows) > wanted
        rows = rows[:wanted]
        scanned += len(rows)
        for row, fetched in zip(rows, await _fetch_all(rows, fetch), strict=True):
            if fetched is None:
                await ownership.forget(row.provider, row.kind, row.object_id)
            elif fetched[0] and (purpose is None or fetched[1].get("purpose") == purpose):
                found.append((row.object_id, fetched[0]))
        if rows:
            position = rows[-1].position
    page = {
        "object": "list",
        "data": [orjson.Fragment(body) for _, body in found],
        "first_id": found[0][0] if found else None,
        "last_id": found[-1][0] if found else None,
        "has_more": more,
    }
    return orjson.dumps(page)


async def _fetch_all(rows: Sequence[Owned], fetch: Fetch) -> list[Fetched]:
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Owned) -> Fetched:
        async with few:
            return await fetch(row)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(row)) for row in rows]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _read_query(kind: str, query: Mapping[str, str]) -> tuple[int, str | None, bool]:
    known = _KNOWN.get(kind, _KNOWN_ELSE)
    for name in query:
        if name not in known:
            shown = ", ".join(sorted(known))
            raise GatewayError(
                "invalid_field", f"This list knows no parameter '{name[:100]}', only {shown}.", param=name[:100]
            )
    text = query.get("limit")
    limit = _DEFAULT.get(kind, 20)
    if text is not None:
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _MAX_LIMIT):
            message = f"The parameter 'limit' must be a number from 1 to {_MAX_LIMIT}."
            raise GatewayError("invalid_field", message, param="limit")
        limit = min(int(text), MAX_PAGE)
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise GatewayError("invalid_field", "The parameter 'order' must be 'asc' or 'desc'.", param="order")
    return limit, query.get("purpose"), order == "asc"


async def _position(ownership: Ownership, owner: Owner, kind: str, after: str | None) -> int | None:
    if after is None:
        return None
    position = await ownership.position(owner, kind, checked_id(after))
    if position is None:
        raise missing(kind, after)
    return position
