"""Budgets and periods in a real database, and a server that is told of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.assembly.alerting import PoolPost
from gateway.metrics import Metrics
from gateway.services.alerts.service import AlertOptions, Alerts
from gateway.services.alerts.webhook import Webhook
from gateway.store.postgres import Postgres
from gateway.upstream.addresses import AddressRule
from gateway.upstream.pool import Pool
from tests.integration.upstream.raw import Peer, serving

USD = 1_000_000_000
KEY = b"k" * 32
HOUR_S, DAY_S = 3600.0, 86_400.0


async def add_budget(
    postgres: Postgres,
    *,
    limit_nano_usd: int | None = 100 * USD,
    thresholds: Any = (50, 80, 100),
    scope: str = "global",
    subject: str = "",
    age_s: float = 60 * DAY_S,
    deleted: bool = False,
) -> uuid.UUID:
    """A new budget's id."""
    found: uuid.UUID = await postgres.fetchval(
        "INSERT INTO cost_budgets (budget_name, budget_scope, scope_identifier, limit_nano_usd, alert_thresholds, "
        "created_at, deleted_at) VALUES ('spring', $1, $2, $3, $4, now() - make_interval(secs => $5), "
        "CASE WHEN $6 THEN now() END) RETURNING id",
        *(scope, subject, limit_nano_usd, thresholds, age_s, deleted),
    )
    return found


async def add_period(
    postgres: Postgres,
    budget_id: uuid.UUID,
    spent_nano_usd: int = 0,
    *,
    began_s: float = HOUR_S / 2,
    lasts_s: float | None = 30 * DAY_S,
    topped_up: int = 0,
    lost: int = 0,
    end_user: str = "",
) -> int:
    """A new period's id; it began so many seconds ago."""
    found: int = await postgres.fetchval(
        "INSERT INTO budget_periods (budget_id, end_user, starts_at, ends_at, settled_nano_usd, topped_up_nano_usd, "
        "lost_nano_usd) VALUES ($1, $2, now() - make_interval(secs => $3), "
        "now() - make_interval(secs => $3) + make_interval(secs => $4), $5, $6, $7) RETURNING id",
        *(budget_id, end_user, began_s, lasts_s, spent_nano_usd, topped_up, lost),
    )
    return found


async def spend(postgres: Postgres, period_id: int, nano_usd: int) -> None:
    """What the ledger does with it."""
    await postgres.execute(
        "UPDATE budget_periods SET settled_nano_usd = settled_nano_usd + $2 WHERE id = $1", period_id, nano_usd
    )


async def slow_down(postgres: Postgres, what: str, table: str) -> None:
    """From now on INSERT or UPDATE takes so long for each row that whoever is at it at once has begun at once."""
    await postgres.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END'; "
        f"CREATE TRIGGER linger BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION linger()"
    )


async def raised(postgres: Postgres) -> list[tuple[str, int]]:
    """Kind and threshold of all alerts, in the order in which they were raised."""
    rows = await postgres.fetch("SELECT kind, threshold_percent FROM budget_alerts ORDER BY id")
    return [(row["kind"], row["threshold_percent"]) for row in rows]


@dataclass
class Told:
    """One request that the webhook got."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A webhook's server, which answers with these statuses in turn and then with 200. `url` leads to it."""

    url: str
    statuses: list[int]
    told: list[Told] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Of the alerts that it was told of, in order."""
        return [one.headers["webhook-id"] for one in self.told]

    async def has(self, count: int) -> None:
        """Wait until it was told so many times."""
        async with asyncio.timeout(20.0):
            while len(self.told) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving(statuses: Iterable[int] = (), *, delay_s: float = 0.0) -> AsyncIterator[Receiver]:
    """Run a webhook's server."""

    async def handler(peer: Peer) -> None:
        while True:
            head, _, body = (await peer.request()).partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            named = (line.partition(": ") for line in lines)
            receiver.told.append(Told(first.split()[1], {name: value for name, _, value in named}, body))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            await asyncio.sleep(delay_s)
            location = "location: /elsewhere\r\n" if 300 <= status < 400 else ""
            await peer.send(f"HTTP/1.1 {status} X\r\n{location}content-length: 2\r\n\r\nok".encode())

    async with serving(handler) as server:
        receiver = Receiver(f"http://{server.origin.name}/hook?a=b", list(statuses))
        yield receiver


LOCAL = AddressRule.of(["127.0.0.1", "::1"])


class Worker:
    """What one worker has."""

    def __init__(self, postgres: Postgres, pool: Pool, options: AlertOptions, *webhooks: Webhook) -> None:
        self.metrics = Metrics.in_memory()
        self.alerts = Alerts(postgres, PoolPost(pool, None, LOCAL), self.metrics, options)
        self.alerts.use(webhooks, PoolPost(pool, None, LOCAL))

    def counted(self, kind: str) -> int:
        """Alerts of this kind that it raised, by its metric."""
        return int(self.metrics.total("budget_alerts_total", kind))

    async def deliver_all(self, *, within_s: float = 20.0) -> None:
        """Deliver, also what is to be tried again soon, until nothing is due any more."""
        deadline = time.monotonic() + within_s
        quiet = 0
        while quiet < 20 and time.monotonic() < deadline:
            quiet = 0 if await self.alerts.deliver() else quiet + 1
            await asyncio.sleep(0.02)
