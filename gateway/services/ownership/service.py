"""The table of owners, asked before an object is touched and told when one is made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store.postgres import Postgres
from gateway.store.sql import load

if TYPE_CHECKING:
    from asyncpg import Record

# (kind, id at the provider)
ObjectName = tuple[str, str]
MAX_ID_CHARS = 256


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asks: a team's key, a key without a team, or (`sees_all`) the master key. The ids are UUIDs."""

    team_id: str | None
    key_id: str | None
    sees_all: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """One object: where it lies and whose it is. `position` orders objects by the time they were recorded."""

    kind: str
    object_id: str
    provider: str
    owner: Owner
    position: int = 0


class Ownership:
    """Over the table `gateway_objects`. Every method raises store_unavailable while PostgreSQL is away."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._sql = load("gateway.services.ownership")

    async def check(self) -> None:
        """Can an object be recorded now? To be asked before one is made."""
        await self._hurried.fetchval("SELECT 1")

    async def find(self, owner: Owner, kind: str, object_id: str) -> Owned | None:
        """The object, if it is known and `owner` may see it."""
        return (await self.find_all(owner, [(kind, object_id)])).get((kind, object_id))

    async def find_all(self, owner: Owner, names: Collection[ObjectName]) -> dict[ObjectName, Owned]:
        """Those of `names` that are known and that `owner` may see."""
        asked = [name for name in names if _can_be(name[1])]
        if not asked:
            return {}
        rows = await self._hurried.fetch(self._sql["find"], *_who(owner), *_columns(asked))
        return {(row["kind"], row["object_id"]): _owned(row) for row in rows}

    async def of_others(self, owner: Owner, names: Collection[ObjectName]) -> list[ObjectName]:
        """Those of `names` that are known to be somebody else's."""
        asked = [name for name in names if _can_be(name[1])]
        if not asked:
            return []
        rows = await self._hurried.fetch(self._sql["others"], *_who(owner), *_columns(asked))
        return [(row["kind"], row["object_id"]) for row in rows]

    async def record(self, owner: Owner, provider: str, names: Collection[ObjectName]) -> None:
        """`owner` made these at `provider`. What is recorded already keeps its owner."""
        made = [name for name in names if _can_be(name[1])]
        if made:
            await self._postgres.execute(self._sql["record"], *_columns(made), provider, owner.team_id, owner.key_id)

    async def forget(self, provider: str, kind: str, object_id: str) -> None:
        """The object is no more."""
        if _can_be(object_id):
            await self._postgres.execute(self._sql["forget"], provider, kind, object_id)

    async def position(self, owner: Owner, kind: str, object_id: str) -> int | None:
        """Where an object stands in the owner's list; None if it is not on it."""
        if not _can_be(object_id):
            return None
        found: int | None = await self._hurried.fetchval(self._sql["position"], *_who(owner), kind, object_id)
        return found

    async def page(
        self, owner: Owner, kind: str, *, after: int | None, limit: int, oldest_first: bool = False
    ) -> list[Owned]:
        """Up to `limit` of the owner's objects behind position `after`, the newest first unless `oldest_first`."""
        name = "page_up" if oldest_first else "page_down"
        rows = await self._hurried.fetch(self._sql[name], *_who(owner), kind, after, limit)
        return [_owned(row, row["id"]) for row in rows]


def _can_be(object_id: str) -> bool:
    """Can this be the id of anything? PostgreSQL's text takes neither U+0000 nor half of a surrogate pair, so what
    comes from outside is not given to it unseen: nobody has made what is called so."""
    return 0 < len(object_id) <= MAX_ID_CHARS and object_id.isprintable()


def _who(owner: Owner) -> tuple[bool, str | None, str | None]:
    return owner.sees_all, owner.team_id, owner.key_id


def _columns(names: Collection[ObjectName]) -> tuple[list[str], list[str]]:
    return [kind for kind, _ in names], [object_id for _, object_id in names]


def _owned(row: Record, position: int = 0) -> Owned:
    team_id, key_id = row["team_id"], row["key_id"]
    owner = Owner(None if team_id is None else str(team_id), None if key_id is None else str(key_id))
    return Owned(row["kind"], row["object_id"], row["provider"], owner, position)
