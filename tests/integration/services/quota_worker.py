"""A worker without a loop: its leases, and exchanges whose answers, or themselves, can get lost."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from gateway.services.quota.ask import Ask, Refusal
from gateway.services.quota.counter import HELD, MONEY, RATE, Counter, Kind
from gateway.services.quota.exchange import EPOCH_KEY, WORKERS_KEY, Exchange, Identity, read_answer
from gateway.services.quota.leases import Leases
from gateway.services.quota.outage import LastWord

LAPSE_MS = 1_000_000
SCRIPTS = {
    name: files("gateway.services.quota").joinpath(f"{name}.lua").read_text()
    for name in ("exchange", "found", "bury", "absent")
}
SHAS = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in SCRIPTS.items()}
# name: kind, limit, seconds of a window
COUNTERS: Mapping[str, tuple[Kind, int, int]] = {
    "few a second": (RATE, 7, 1),
    "many a day": (RATE, 400, 86_400),
    "three at once": (HELD, 3, 0),
    "thirty at once": (HELD, 30, 0),
    "a budget": (MONEY, 5_000_000, 0),
}


@dataclass
class Grant:
    """What one request got, and in which window."""

    amounts: list[tuple[Counter, int]]
    windows: list[int]


@dataclass
class Worker:
    """`spent` is money that is in its journal and not in the ledger; `silent`: its units may be given to others;
    `overdue`: so they were after the exchange was sent that it still waits for."""

    client: Redis
    name: str
    loop: asyncio.AbstractEventLoop
    silent: bool = False
    overdue: bool = False
    grants: list[Grant] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    opening: list[Counter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leases = Leases(lambda: None, 1e9)
        self.counters = {name: self.leases.counter(name, *row, "deny") for name, row in COUNTERS.items()}
        self.identity = Identity(self.name, LAPSE_MS, LAPSE_MS)
        self.last = LastWord()
        self.epoch = ""
        self.sequence = 0
        self.sent: tuple[Exchange, list[Ask], list[str], list[str]] | None = None
        self.heard: list[tuple[list[str], list[str]]] = []

    def ask(self, amounts: Mapping[str, int]) -> None:
        pairs = [(self.counters[name], amount) for name, amount in amounts.items()]
        ask = Ask(pairs, self.loop.create_future(), 0.0)
        self.asks.append(ask)
        self.leases.waiting.append(ask)

    def run(self, script: str, keys: list[str], arguments: list[str]) -> Any:
        try:
            return self.client.evalsha(SHAS[script], len(keys), *keys, *arguments)
        except NoScriptError:
            return self.client.eval(SCRIPTS[script], len(keys), *keys, *arguments)

    def exchange(self, fate: str = "") -> list[Counter]:
        """Say what there is to be said. `fate` "unsent" or "unheard": the next one says the same again."""
        now = time.monotonic()
        if not self.epoch:
            self.epoch = self.run("found", [EPOCH_KEY, WORKERS_KEY], [f"{self.name}-{now}", "0"]).decode()
        if self.sent is None:
            exchange, asks = self.leases.compose(now, self.last)
            self.sequence += 1
            arguments = exchange.arguments(self.identity, self.epoch, self.sequence, self.leases.short_ms)
            self.sent = exchange, asks, exchange.keys(self.identity, self.epoch), arguments
        if fate == "unsent":
            return []
        exchange, asks, keys, arguments = self.sent
        answer = read_answer(self.run("exchange", keys, arguments))
        if fate == "unheard":
            return []
        self.sent = None
        if answer.status == "epoch":
            self.leases.unsay(exchange, asks)
            self.epoch = answer.epoch
            return []
        self.heard.append((keys, arguments))
        trust_s = 0.0 if self.overdue else 1000.0  # a lease is counted from when an exchange was first sent
        self.last.hear(answer, now, trust_s)
        missing = self.leases.apply(exchange, asks, answer, self.last, time.monotonic())
        self.silent = self.silent and (self.overdue or answer.status == "lapsed")
        self.overdue = False
        return missing

    def answers(self) -> list[tuple[Ask, Refusal | None]]:
        """The asks that were answered since the last look, for whom somebody still waits."""
        done = [ask for ask in self.asks if ask.answer.done()]
        self.asks = [ask for ask in self.asks if not ask.answer.done()]
        return [(ask, ask.answer.result()) for ask in done if not ask.answer.cancelled()]

    def out(self, name: str) -> int:
        """Units of a counter that its requests have."""
        counter = self.counters[name]
        return sum(amount for grant in self.grants for each, amount in grant.amounts if each is counter)
