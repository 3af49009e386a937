"""Counters, answers and asks for tests without a store. The clock stands at 100 s here, at 1,000,000 s in Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.services.quota.ask import Ask
from gateway.services.quota.counter import HELD, MONEY, RATE, Counter, OnStoreFailure
from gateway.services.quota.exchange import Answer, Row
from gateway.services.quota.outage import LastWord

NOW = 100.0
NOW_US = 1_000_000_000_000
WINDOW = NOW_US // 60_000_000  # 20 s of it are left
UNTIL = NOW + 20


def rate(limit: int = 60, failure: OnStoreFailure = "local", leased: int = 0) -> Counter:
    """Of a minute that ends at `UNTIL`, with so many units leased."""
    counter = Counter("rate", RATE, limit, 60, failure)
    counter.enter(WINDOW, UNTIL)
    counter.available = counter.holding = leased
    return counter


def held(limit: int = 8, failure: OnStoreFailure = "local", leased: int = 0) -> Counter:
    counter = Counter("held", HELD, limit, 0, failure)
    counter.available = counter.holding = leased
    return counter


def money(limit: int = 1_000, leased: int = 0) -> Counter:
    counter = Counter("money", MONEY, limit, 0, "deny")
    counter.available = counter.holding = leased
    return counter


def heard(alive: int = 4) -> LastWord:
    """Valkey was heard just now."""
    return LastWord(NOW_US, NOW, alive, NOW + 4, 0.0)


def answer(rows: Sequence[Row], refusers: Sequence[int] = (), status: str = "ok") -> Answer:
    return Answer(status, "e", NOW_US, 4, 0, rows, refusers, (), "")


def closed(given: Answer) -> Answer:
    """The same while all counters are closed."""
    return replace(given, opens_ms=NOW_US // 1000 + 1)


def row(extra: int = 0, remaining: int = 40, window: int = WINDOW, state: str = "ok") -> Row:
    return Row(extra, remaining, window, state)


def ask(*amounts: tuple[Counter, int]) -> Ask:
    """Somebody waits for it, in the loop that runs."""
    return Ask(amounts, asyncio.get_running_loop().create_future(), NOW + 0.05)
