"""The table of kept responses."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from gateway.errors import GatewayError
from gateway.store.postgres import Postgres
from gateway.store.pruning import prune
from gateway.store.sql import load
from gateway.wire.checks import invalid

if TYPE_CHECKING:
    from asyncpg import Record

Document = dict[str, Any]

RETENTION_S = 30 * 86_400.0  # OpenAI's: https://platform.openai.com/docs/guides/your-data (read 2026-11)
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
MAX_CONVERSATION_BYTES = 64 * 1024 * 1024
MAX_CONVERSATION_RESPONSES = 1000
MAX_PAGE = 100
_PRUNE_BATCH = 1000
_READ_S = 2.0  # of the largest conversation
# What can be an id at all; PostgreSQL's text takes neither U+0000 nor lone surrogates.
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,256}\Z")


class Owner(Protocol):
    """Who asks: a team's key, a key without a team, or (`sees_all`) the master key. The ids are UUIDs."""

    @property
    def team_id(self) -> str | None:
        """The key's team."""

    @property
    def key_id(self) -> str | None:
        """The key itself."""

    @property
    def sees_all(self) -> bool:
        """Is it the master key?"""


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """How long a response is kept, in seconds, and how large it and a conversation may be, in bytes of JSON."""

    retention_s: float = RETENTION_S
    max_response_bytes: int = MAX_RESPONSE_BYTES
    max_conversation_bytes: int = MAX_CONVERSATION_BYTES
    max_conversation_responses: int = MAX_CONVERSATION_RESPONSES


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some of a response's input items, and whether there are more behind them."""

    items: list[Document]
    has_more: bool

    def document(self) -> Document:
        """The page as OpenAI's list object; its ids are null where it is empty."""
        return {
            "object": "list",
            "data": self.items,
            "first_id": self.items[0].get("id") if self.items else None,
            "last_id": self.items[-1].get("id") if self.items else None,
            "has_more": self.has_more,
        }


class Responses:
    """Over the table `gateway_responses`. Every method raises store_unavailable while PostgreSQL is away."""

    def __init__(self, postgres: Postgres, limits: ResponseLimits | None = None) -> None:
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._limits = limits or ResponseLimits()
        self._sql = load("gateway.services.responses")

    async def check(self, input_items: Sequence[Document]) -> None:
        """Could a response to these be kept now? To be asked before the model is. Raises body_too_large."""
        _encode(input_items, self._limits.max_response_bytes)
        await self._hurried.fetchval("SELECT 1")

    async def store(
        self,
        response_id: str,
        owner: Owner,
        input_items: Sequence[Document],
        response: Document,
        previous_id: str | None = None,
    ) -> bool:
        """Keep a response as `owner`'s, with the request's own items. False: nothing was written.

        That is so for `store: false` and for an id that is taken already. Raises body_too_large.
        """
        if response.get("store") is False:
            return False
        most = self._limits.max_response_bytes
        given = _encode(input_items, most)
        made = _encode(response, most - len(given))
        ids = {item["id"] for item in [*input_items, *_items(response.get("output"))] if _has_id(item)}
        who = (None, None) if owner.sees_all else (owner.team_id, owner.key_id)
        tag = await self._postgres.execute(
            self._sql["store"],
            *(response_id, *who, previous_id, given, made, sorted(ids), self._limits.retention_s),
        )
        return tag.endswith(" 1")

    async def get(self, response_id: str, owner: Owner) -> Document | None:
        """The response object, if it is kept and `owner` may see it."""
        row = await self._row(response_id, owner)
        return None if row is None else orjson.loads(row["response"])

    async def keeps(self, response_id: str, owner: Owner) -> bool:
        """Is it kept, and may `owner` see it?"""
        if not _ID.match(response_id):
            return False
        return bool(await self._hurried.fetchval(self._sql["keeps"], *_who(owner), response_id))

    async def load_conversation(self, response_id: str, owner: Owner) -> list[Document] | None:
        """The input and output items of the response and all before it, oldest first.

        None if the response or one before it is not kept (any more), or not `owner`'s to see. Raises invalid_field
        (previous_response_id) for a conversation above the limits.
        """
        limits = self._limits
        most = (limits.max_conversation_responses, limits.max_conversation_bytes)
        if not _ID.match(response_id):
            return None
        rows = await self._hurried.fetch(self._sql["chain"], *_who(owner), response_id, *most, timeout_s=_READ_S)
        if not rows:
            return None
        last = rows[-1]
        if last["depth"] > most[0] or last["total_bytes"] > most[1]:
            raise GatewayError(
                "invalid_field",
                f"'previous_response_id': the conversation is longer than {most[0]} responses or {most[1]} bytes.",
                param="previous_response_id",
            )
        if last["previous_id"] is not None:
            return None
        items: list[Document] = []
        for row in reversed(rows):
            items += orjson.loads(row["input"])
            items += _items(orjson.loads(row["response"]).get("output"))
        return items

    async def find_items(self, owner: Owner, item_ids: Collection[str]) -> dict[str, Document]:
        """Those of the items that are kept and that `owner` may see: what an `item_reference` stands for.

        The limits of a conversation hold here too; what is beyond them is not found.
        """
        wanted = {item_id for item_id in item_ids if _ID.match(item_id)}
        if not wanted:
            return {}
        most = (self._limits.max_conversation_responses, self._limits.max_conversation_bytes)
        rows = await self._hurried.fetch(self._sql["items"], *_who(owner), sorted(wanted), *most, timeout_s=_READ_S)
        found: dict[str, Document] = {}
        for row in rows:
            output = _items(orjson.loads(row["response"]).get("output"))
            for item in [*orjson.loads(row["input"]), *output]:
                if _has_id(item) and item["id"] in wanted:
                    found.setdefault(item["id"], item)
        return found

    async def input_items(
        self, response_id: str, owner: Owner, *, limit: int = 20, order: str = "desc", after: str | None = None
    ) -> ItemPage | None:
        """Up to `limit` (1 to 100) of a response's own input items behind the item `after`; None as for `get`.

        `order` is asc or desc. Raises invalid_field for other values, and for an `after` that is none of the items.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise invalid("limit", f"must be 1 to {MAX_PAGE}")
        if order not in ("asc", "desc"):
            raise invalid("order", "must be asc or desc")
        row = await self._row(response_id, owner)
        if row is None:
            return None
        items: list[Document] = orjson.loads(row["input"])
        if order == "desc":
            items.reverse()
        if after is not None:
            places = [index for index, item in enumerate(items) if item.get("id") == after]
            if not places:
                raise invalid("after", "is none of the items")
            items = items[places[0] + 1 :]
        return ItemPage(items[:limit], has_more=len(items) > limit)

    async def delete(self, response_id: str, owner: Owner) -> bool:
        """Forget a response; false if it is not kept, or not `owner`'s. What goes on from it can go on no more."""
        if not _ID.match(response_id):
            return False
        tag = await self._hurried.execute(self._sql["delete"], *_who(owner), response_id)
        return tag.endswith(" 1")

    async def prune(self) -> int:
        """Remove for good what is older than the retention; returns how many. `Keeping` calls it now and then."""
        return await prune(self._postgres, self._sql["prune"], _PRUNE_BATCH)

    async def _row(self, response_id: str, owner: Owner) -> Record | None:
        if not _ID.match(response_id):
            return None
        return await self._hurried.fetchrow(self._sql["get"], *_who(owner), response_id, timeout_s=_READ_S)


def _who(owner: Owner) -> tuple[bool, str | None, str | None]:
    return owner.sees_all, owner.team_id, owner.key_id


def _encode(value: Any, most: int) -> bytes:
    """The JSON to keep. Raises body_too_large, invalid_json where it cannot be written."""
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise GatewayError("invalid_json", "The response cannot be stored: it is no JSON; send store: false.") from None
    if len(data) > most:
        raise GatewayError(
            "body_too_large", "The request is too large for its response to be stored; send store: false."
        )
    return data


def _items(value: object) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _has_id(item: Document) -> bool:
    item_id = item.get("id")
    return isinstance(item_id, str) and _ID.match(item_id) is not None
