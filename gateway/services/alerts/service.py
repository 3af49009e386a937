"""`Alerts`: raises alerts, tells of them, and delivers them to webhooks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.services.alerts.alert import alert_of, text_of
from gateway.services.alerts.webhook import Webhook
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load
from gateway.tasks import Tasks

if TYPE_CHECKING:
    from asyncpg import Record

_log = logging.getLogger("gateway.alerts")

# A burn rate means nothing in a period's first minutes: so much of it must have passed, and so many seconds.
BURN_RATE_AFTER_SHARE: Final = 0.05
BURN_RATE_AFTER_S: Final = 3600.0
_LATE_S: Final = 3600.0  # so long after a period's end the ledger may still add to it
# What is met again at the same place within this time is the same trouble, or nearly.
_SAME_TROUBLE_S: Final = 3600.0
_AT_ONCE: Final = 20
_CHECK_SHARE: Final = 0.05  # of the time a worker may spend on looking
_AGAIN: Final = frozenset({408, 429})


class Post(Protocol):
    """Sends a POST, follows no redirect, and gives back the status."""

    async def __call__(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """Raises GatewayError where no answer came."""


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """A failed delivery is tried again after `first_retry_s`, twice that, … `longest_retry_s`, until the alert is
    `give_up_s` old. For `claim_s` nobody else tries it; an attempt may last half as long."""

    look_every_s: float = 1.0
    first_retry_s: float = 5.0
    longest_retry_s: float = 3600.0
    give_up_s: float = 86_400.0
    claim_s: float = 40.0


class Alerts:
    """One per worker, over `budget_alerts` and `budget_alert_deliveries`. `use` may be called at any time."""

    def __init__(self, postgres: Postgres, post: Post, metrics: Metrics, options: AlertOptions | None = None) -> None:
        self._postgres = postgres
        self._post = post
        self._metrics = metrics
        self._options = options or AlertOptions()
        self._sql = load("gateway.services.alerts")
        self._webhooks: dict[str, Webhook] = {}
        self._exceeded: dict[int, tuple[int, int]] = {}
        self._unwritable: dict[str, str] = {}
        self._raised = asyncio.Event()
        self._random = random.Random()

    def open(self, tasks: Tasks) -> None:
        """Look and deliver from now on, in the background."""
        tasks.spawn(self._check_for_ever(), name="look for budget alerts")
        tasks.spawn(self._deliver_for_ever(), name="deliver budget alerts")

    def use(self, webhooks: Sequence[Webhook], post: Post) -> None:
        """Deliver to these from now on. What is queued for one that is no longer there is not delivered."""
        self._webhooks = {webhook.name: webhook for webhook in webhooks}
        self._post = post

    def exceeded(self, period_id: int, *, reserved_nano_usd: int, billed_nano_usd: int) -> None:
        """A provider billed more than an attempt had reserved of this period. Told at the next look; never waits."""
        self._exceeded.setdefault(period_id, (reserved_nano_usd, billed_nano_usd))

    def journal_unwritable(self, place: str, reason: str) -> None:
        """No journal file can be made at `place`, a host and a directory. Told at the next look; never waits."""
        self._unwritable.setdefault(place, reason)

    async def check(self) -> int:
        """Raise what is due and nobody has raised; how many that were. Raises GatewayError store_unavailable."""
        return await self._raise_at_places() + await self._raise_of_budgets()

    async def _raise_at_places(self) -> int:
        raised = 0
        for place, reason in tuple(self._unwritable.items()):

            async def insert(connection: Connection, place: str = place, reason: str = reason) -> Sequence[Record]:
                await connection.execute(self._sql["lock_place"], "journal_unwritable", place)
                wanted = ("journal_unwritable", place, reason, list(self._webhooks), _SAME_TROUBLE_S)
                return await connection.fetch(self._sql["raise_at_place"], *wanted)

            rows = await self._postgres.in_transaction(insert)
            del self._unwritable[place]
            self._told(rows, {})
            raised += len(rows)
        return raised

    async def _raise_of_budgets(self) -> int:
        exceeded = dict(self._exceeded)
        rows = await self._postgres.fetch(
            self._sql["raise"],
            list(self._webhooks),
            _LATE_S,
            list(exceeded),
            BURN_RATE_AFTER_S,
            BURN_RATE_AFTER_SHARE,
        )
        for period_id in exceeded:
            self._exceeded.pop(period_id, None)
        self._told(rows, exceeded)
        return len(rows)

    def _told(self, rows: Sequence[Record], exceeded: Mapping[int, tuple[int, int]]) -> None:
        for row in rows:
            self._tell(row, exceeded)
        if rows:
            self._raised.set()

    def _tell(self, row: Record, exceeded: Mapping[int, tuple[int, int]]) -> None:
        alert = alert_of(row)
        self._metrics.budget_alerts.child(alert.kind).inc()
        if alert.kind == "exceeded":
            assert alert.period_id is not None
            reserved, billed = exceeded[alert.period_id]
            _log.warning("%s Reserved: %d, billed: %d nano-USD.", text_of(alert), reserved, billed)
        else:
            _log.warning("%s", text_of(alert))

    # --- delivery -----------------------------------------------------------------------------------

    async def deliver(self) -> int:
        """Try what is due; how many attempts were made. Raises GatewayError store_unavailable."""
        if not self._webhooks:
            return 0
        options = self._options
        rows = await self._postgres.fetch(
            self._sql["claim"], list(self._webhooks), _AT_ONCE, options.claim_s, options.give_up_s
        )
        for result in await asyncio.gather(*(self._attempt(row) for row in rows), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return len(rows)

    async def _attempt(self, row: Record) -> None:
        webhook = self._webhooks.get(row["webhook"])
        if webhook is None:  # taken out of the configuration a moment ago
            return
        error, passing = await self._send(webhook, row)
        retry_in_s = self._pause_s(row["attempts"]) if passing else None
        if retry_in_s is not None and row["age_s"] + retry_in_s >= self._options.give_up_s:
            retry_in_s = None
        await self._postgres.execute(self._sql["settle"], row["id"], row["webhook"], row["attempts"], error, retry_in_s)
        if error is not None and retry_in_s is None:
            _log.error("the webhook %s does not get alert %s: %s", webhook.name, row["id"], error)

    async def _send(self, webhook: Webhook, row: Record) -> tuple[str | None, bool]:
        """Why it was not taken (None: it was), and whether that may pass. The reason holds nothing of the URL."""
        headers, body = webhook.request(alert_of(row), int(time.time()))
        try:
            async with asyncio.timeout(self._options.claim_s / 2):
                status = await self._post(webhook.url, headers, body)
        except GatewayError as error:
            return error.code, True
        except TimeoutError:
            return "no answer in time", True
        if 200 <= status < 300:
            return None, False
        return f"status {status}", status >= 500 or status in _AGAIN

    def _pause_s(self, attempts: int) -> float:
        options = self._options
        longest = min(options.longest_retry_s, options.first_retry_s * 2.0 ** min(attempts - 1, 30))
        return longest * (0.75 + 0.5 * self._random.random())  # so that what failed together is not tried together

    # --- in the background --------------------------------------------------------------------------

    async def _check_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            await self._guarded(self.check)
            took_s = time.monotonic() - began
            await asyncio.sleep(max(self._options.look_every_s, took_s / _CHECK_SHARE))

    async def _deliver_for_ever(self) -> None:
        while True:
            self._raised.clear()
            if await self._guarded(self.deliver) < _AT_ONCE:
                try:
                    async with asyncio.timeout(self._options.look_every_s):
                        await self._raised.wait()
                except TimeoutError:
                    pass

    async def _guarded(self, work: Callable[[], Awaitable[int]]) -> int:
        try:
            return await work()
        except GatewayError as error:
            _log.warning("budget alerts wait: %s", error.message)
        except Exception:  # a mistake of ours must not end the work
            _log.exception("budget alerts: one look failed")
        return 0
