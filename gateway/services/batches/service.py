"""The table of batches, and the loop that meters those that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import UUID

from gateway.errors import GatewayError
from gateway.store.postgres import Postgres
from gateway.store.sql import load
from gateway.wire.dialect import Document
from gateway.wire.openai_batches import OutputReader, Share, read_batch
from gateway.wire.usage import COUNTS, Usage

if TYPE_CHECKING:
    from asyncpg import Record

_log = logging.getLogger("gateway.batches")

Result = TypeVar("Result")

# Longer than a provider may take to answer; a long file's reader renews the claim.
_CLAIM_S: Final = 300.0
_RENEW_S: Final = 60.0
# So long a provider may deny a batch (a wrong key or address does that, too) before it counts as gone.
_GIVE_UP_S: Final = 7 * 86_400.0
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,256}\Z")


@dataclass(frozen=True, slots=True)
class Creation:
    """The attempt that made a batch, as it is in the ledger.

    (`request_id`, `attempt`, `started_us`) is its row and `scope` that row's names; `cost_nano_usd` is what the periods
    `period_ids` of budgets were charged: what such a request may cost, for nobody knew. `end_user` and `tags` are for
    reports.
    """

    request_id: str
    attempt: int
    started_us: int
    scope: str
    cost_nano_usd: int = 0
    period_ids: Sequence[int] = ()
    end_user: str = ""
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch that was made through the gateway, and by whom. The ids but `batch_id` are UUIDs.

    `request_id` names its rows in the ledger. `used` and `ended_at` are there once its usage is decided; `missing_s`
    is how long its provider has been denying it. `creation` is None for one of which nobody noted it.
    """

    request_id: str
    provider: str
    batch_id: str
    key_id: str | None
    team_id: str | None
    user_id: str | None
    missing_s: float
    used: Sequence[Share] | None = None
    ended_at: datetime | None = None
    creation: Creation | None = None


class Source(Protocol):
    """Whom to ask. Both methods raise GatewayError where the provider gives no good answer."""

    async def batch(self, provider: str, batch_id: str) -> Document | None:
        """The batch object; None where the provider has no such batch."""

    async def output(
        self, provider: str, file_id: str, read: Callable[[AsyncIterator[bytes]], Awaitable[Result]]
    ) -> Result | None:
        """What `read` makes of a file's content, read anew at each try; None where the file is gone."""


class Book(Protocol):
    """Where the cost is written."""

    def tier(self, provider: str, model: str, prompt_tokens: int) -> int:
        """The price tier of a prompt, as `gateway.wire.openai_batches.Tier`. Raises GatewayError (no_provider)."""

    async def write(self, batch: Batch, used: Sequence[Share], at: datetime) -> None:
        """Have a row for each share, under the batch's request id and the time `at`, and its budgets charged with that
        in the place of what its creation was charged; written twice it counts once.

        Returns when all is in the database. Raises GatewayError, OSError.
        """


class Batches:
    """Over the table `gateway_batches`. `interval_s` is the time between two questions about a batch, `enabled` says
    whether there is any metering; both are asked anew each time.
    """

    def __init__(
        self,
        postgres: Postgres,
        source: Source,
        book: Book,
        interval_s: Callable[[], float],
        enabled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._postgres = postgres
        self._source = source
        self._book = book
        self._interval_s = interval_s
        self._enabled = enabled
        self._news = asyncio.Event()
        self._sql = load("gateway.services.batches")

    async def record(
        self,
        provider: str,
        document: Document,
        creation: Creation | None,
        *,
        key_id: str | None,
        team_id: str | None,
        user_id: str | None,
    ) -> None:
        """The batch in `document` was just made by this key, in the attempt `creation`. Raises store_unavailable."""
        batch_id = _id_of(document)
        if batch_id is None or not self._enabled():
            return
        try:
            who = (key_id, team_id, user_id)
            made = None if creation is None else asdict(creation)
            await self._postgres.execute(self._sql["record"], provider, batch_id, *who, self._interval_s(), made)
        except GatewayError:
            _log.error(
                "the batch %s at %s was made but cannot be recorded: its cost is not metered", batch_id, provider
            )
            raise

    async def seen(self, provider: str, document: Document) -> None:
        """A client was shown this batch: if it has ended and is not metered, this worker sees to it at once."""
        batch_id = _id_of(document)
        if batch_id is None or not read_batch(document).ended:
            return
        try:
            tag = await self._postgres.execute(self._sql["hasten"], provider, batch_id)
        except GatewayError:
            return  # it is asked for in time all the same
        if tag.endswith(" 1"):
            self._news.set()

    async def meter_for_ever(self) -> None:
        """Meter what has ended, one batch after another, as long as the worker lives. May run several times."""
        while True:
            try:
                while self._enabled() and (batch := await self._claim()) is not None:
                    await self._handle(batch)
            except GatewayError as error:
                _log.warning("batches cannot be metered now: %s", error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s() * random.uniform(0.8, 1.2)):
                    await self._news.wait()
            self._news.clear()

    async def _claim(self) -> Batch | None:
        row = await self._postgres.fetchrow(self._sql["claim"], _CLAIM_S, self._interval_s())
        return None if row is None else _batch(row)

    async def _handle(self, batch: Batch) -> None:
        try:
            await self._meter(batch)
        except (GatewayError, OSError) as error:
            _log.warning("the batch %s at %s is not metered yet: %s", batch.batch_id, batch.provider, error)
            with contextlib.suppress(GatewayError):
                await self._release(batch, missing=None)
        except Exception:  # the claim runs out by itself
            _log.exception("the batch %s at %s is not metered", batch.batch_id, batch.provider)

    async def _meter(self, batch: Batch) -> None:
        used, at = batch.used, batch.ended_at
        if used is None or at is None:
            found = await self._find(batch)
            if found is None:
                return
            given = [{"model": share.model, "tier": share.tier, **asdict(share.usage)} for share in found]
            row = await self._postgres.fetchrow(self._sql["decide"], batch.request_id, given)
            assert row is not None
            used, at = _shares(row["used"]), row["ended_at"]
        await self._book.write(batch, used, at)
        await self._postgres.execute(self._sql["close"], batch.request_id)
        _log.info("metered the batch %s at %s as request %s", batch.batch_id, batch.provider, batch.request_id)

    async def _release(self, batch: Batch, *, missing: bool | None) -> None:
        await self._postgres.execute(self._sql["release"], batch.request_id, missing)

    async def _find(self, batch: Batch) -> list[Share] | None:
        """What the batch used; None where that is not known yet, and then it is released."""
        document = await self._source.batch(batch.provider, batch.batch_id)
        if document is None and batch.missing_s > _GIVE_UP_S:
            return [_unknown(batch, "", "the provider has the batch no more")]
        state = None if document is None else read_batch(document)
        if state is None or not state.ended:
            await self._release(batch, missing=state is None)
            return None
        usage, model = state.usage, state.model
        # Tiers go by the single request: a sum says enough only where no part of it can be above the first one.
        if usage is not None and model and not self._book.tier(batch.provider, model, usage.prompt):
            return [Share(model, 0, usage)]
        if state.output_file_id is not None:
            found = await self._read_output(batch, state.output_file_id)
            if found:
                return found
            if found is not None and usage is None:
                return [Share(model, 0, Usage())]
        if usage is not None:
            usage.estimated = True
            return [Share(model, 0, usage)]
        if state.answered or state.output_file_id is not None:
            return [_unknown(batch, model, "its output file is gone")]
        return [Share(model, 0, Usage())]

    async def _read_output(self, batch: Batch, file_id: str) -> list[Share] | None:
        """What the file's lines used; None where it is gone."""

        async def read(pieces: AsyncIterator[bytes]) -> list[Share]:
            reader = OutputReader(lambda model, prompt: self._book.tier(batch.provider, model, prompt))
            renew_at = time.monotonic() + _RENEW_S
            async for data in pieces:
                reader.feed(data)
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + _RENEW_S
                    with contextlib.suppress(GatewayError):
                        await self._postgres.execute(self._sql["renew"], batch.request_id, _CLAIM_S)
            return reader.finish()

        return await self._source.output(batch.provider, file_id, read) if _ID.match(file_id) else None


def _id_of(document: Document) -> str | None:
    found = document.get("id")
    return found if isinstance(found, str) and _ID.match(found) else None


def _unknown(batch: Batch, model: str, reason: str) -> Share:
    _log.warning("what the batch %s at %s used cannot be found: %s", batch.batch_id, batch.provider, reason)
    return Share(model, 0, Usage(estimated=True))


def _batch(row: Record) -> Batch:
    return Batch(
        request_id=str(row["id"]),
        provider=row["provider"],
        batch_id=row["batch_id"],
        key_id=_text(row["key_id"]),
        team_id=_text(row["team_id"]),
        user_id=_text(row["user_id"]),
        missing_s=row["missing_s"],
        used=None if row["used"] is None else _shares(row["used"]),
        ended_at=row["ended_at"],
        creation=None if row["creation"] is None else Creation(**row["creation"]),
    )


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _shares(used: list[dict[str, Any]]) -> list[Share]:
    # Counts that an older or newer version wrote and this one does not know are left out.
    known = {*COUNTS, "estimated"}
    return [
        Share(each["model"], each["tier"], Usage(**{name: each[name] for name in known & each.keys()})) for each in used
    ]
