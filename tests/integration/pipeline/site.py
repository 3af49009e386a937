"""The pipeline with its limits and budgets on a real Valkey and PostgreSQL, over upstreams that follow a script."""

from __future__ import annotations

import copy
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.governor import Governor
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.purse import Openings, Purse
from gateway.pipeline.queues import Queues
from gateway.pipeline.rules import RuleBook
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.admit import Admit
from gateway.pipeline.stages.check_budget import CheckBudget
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.limit_rate import LimitRate
from gateway.pipeline.stages.meter import Meter
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.providers.price import PriceOverride
from gateway.services.budgets.record import BudgetRecord
from gateway.services.budgets.register import BudgetRegister
from gateway.services.budgets.service import Budgets
from gateway.services.keys.key import Key
from gateway.services.ledger.entry import Entry
from gateway.services.limits.register import LimitRegister
from gateway.services.limits.service import Limits
from gateway.services.prices.service import Prices
from gateway.services.quota.service import Quota
from gateway.services.routing.routes import Route, Routes, Routing
from gateway.services.tokenizers.service import Tokenizers
from gateway.store.postgres import Postgres
from gateway.store.sql import load
from gateway.store.valkey import Valkey
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Headers
from gateway.upstream.passages import Passages
from gateway.upstream.retries import RetryBudget, RetryOptions
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai import CHAT
from tests.integration.services.governed import ACTOR, add_key
from tests.unit.upstream.fakes import Clock, FakeLine, FakeWatcher, Script, target

INPUT_NANO = 1_000
OUTPUT_NANO = 10_000  # both where `prices` are not given, which are by target
USD = 1_000_000_000


class Sink:
    """A client of streams."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.flow: Any = None

    def start(self, status: int, headers: Headers) -> None:
        self.headers = _readable(headers)

    def write(self, data: bytes) -> None:
        self.body += data

    def end(self) -> None:
        pass

    def attach(self, flow: Any) -> None:
        self.flow = flow


@dataclass
class Book:
    """A ledger that keeps what is written."""

    started: list[Entry] = field(default_factory=list)
    ended: list[Entry] = field(default_factory=list)

    def start(self, entry: Entry) -> None:
        self.started.append(copy.copy(entry))

    def end(self, entry: Entry) -> None:
        self.ended.append(entry)


@dataclass
class Answer:
    """What a client got; `error` is the error's object."""

    status: int
    headers: dict[str, str]
    body: bytes
    call: Call

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)["error"]
        return found


class Known(Stage):
    """In the place of `authenticate`."""

    name = "authenticate"

    def __init__(self) -> None:
        self.key = Key(id=None, name="nobody")

    async def on_request(self, call: Call) -> None:
        call.key = self.key


class Site:
    """`lines` are the upstreams by target's model; the model `m` has them all as its targets, in order."""

    def __init__(self, postgres: Postgres, quota: Quota, limits: Limits, budgets: Budgets) -> None:
        self.postgres, self.quota, self.limits, self.budgets = postgres, quota, limits, budgets
        self.book = Book()
        self.metrics = Metrics.in_memory()
        self.rules = RuleBook(quota, limits)
        self.purse = Purse(quota, budgets)
        self._limits = LimitRegister(postgres, limits.catch_up)
        self._budgets = BudgetRegister(postgres, budgets.catch_up)
        self.lines: dict[str, FakeLine] = {}
        self.watcher = FakeWatcher()
        self.overruns: list[tuple[int, int, int]] = []  # a period, what was reserved and what was billed

    def serve(
        self,
        prices: Mapping[str, PriceOverride] | None = None,
        without: tuple[str, ...] = (),
        account: str = "openai",
        attempts: int = 1,
        fallbacks: tuple[str, ...] = (),
        tokenizers: Tokenizers | None = None,
        **lines: FakeLine,
    ) -> None:
        """Have these upstreams behind `m` and its alias `alias`. `without`: stages that are switched off. `fallbacks`:
        those that are models of their own, of that name, which `m` falls back to."""
        self.lines = {name.replace("_", "-"): line for name, line in lines.items()}
        plain = PriceOverride(INPUT_NANO * 1000, OUTPUT_NANO * 1000)
        self.targets = [
            target(line, model=name, serves=name if name in fallbacks else "m") for name, line in self.lines.items()
        ]
        at = {one.model: (one.serves, one.name) for one in self.targets}
        known = {name: plain for name in at} if prices is None else prices
        meter = Meter(self.book, Prices.load({at[name]: each for name, each in known.items()}), self.metrics)  # type: ignore[arg-type]
        for place, one in enumerate(self.targets):
            one.priority = place
            one.account.type = account
        own = tuple(one for one in self.targets if one.serves == "m")
        routes = {one.serves: Route(one.serves, (one,)) for one in self.targets if one.serves != "m"}
        routes["m"] = Route("m", own, fallbacks, fallbacks)
        routes["alias"] = Route("alias", own, fallbacks, fallbacks, alias_of="m")
        routing = Routing(Routes(routes, ("p",), lambda *_: None, ()), random.Random(1))
        book = None if "limit_rate" in without else self.rules
        governor = Governor(meter, self.quota, book, self.purse, Queues(0.0, 0), self, tokenizers)
        options = RetryOptions(attempts=attempts, base_delay_s=0.0, max_delay_s=0.01)
        passages = Passages(_fetch_nothing)
        dispatch = Dispatch(governor, options, RetryBudget(options, Clock()), self.watcher, random.Random(1), passages)
        self.known = Known()
        stages: list[Stage] = [
            self.known,
            Admit(self.rules),
            ReadRequest(),
            ChooseRoute(routing),
            LimitRate(self.rules),
            CheckBudget(self.purse),
            meter,
        ]
        self.pipeline = Pipeline([stage for stage in stages if stage.name not in without], dispatch, self.purse)

    def exceeded(self, period_id: int, *, reserved_nano_usd: int, billed_nano_usd: int) -> None:
        """In the place of the alerts."""
        self.overruns.append((period_id, reserved_nano_usd, billed_nano_usd))

    async def make_key(self, **fields: Any) -> Key:
        """A key that is in the database, so that something can be set on it."""
        key_id = await add_key(self.postgres, team_id=fields.get("team_id"))
        return Key(id=key_id, name="app", **fields)

    async def limit(self, scope: Any, subject: str | None = "", model: str | None = None, **numbers: Any) -> None:
        """Set a limit."""
        await self._limits.put((scope, subject or "", model), numbers, ACTOR)

    async def budget(self, scope: Any, subject: str | None, limit_nano_usd: int, **fields: Any) -> BudgetRecord:
        """Make a budget."""
        model = fields.pop("model", None)
        place = (scope, subject or "", model)
        return await self._budgets.create(place, {"limit_nano_usd": limit_nano_usd, **fields}, ACTOR)

    async def ask(self, key: Key, endpoint: Endpoint = CHAT, **fields: Any) -> Answer:
        """One request to its end."""
        return await self.answer(self.call(endpoint, **fields), key)

    def call(self, endpoint: Endpoint = CHAT, **fields: Any) -> Call:
        """A request; a chat for `m` where nothing else is said."""
        document = {"model": "m", **({"messages": [{"role": "user", "content": "hello"}]} if endpoint is CHAT else {})}
        return Call(endpoint, {}, orjson.dumps({**document, **fields}), "127.0.0.1")

    async def answer(self, call: Call, key: Key) -> Answer:
        """What comes of a call."""
        self.known.key = key
        sink = Sink()
        reply = await self.pipeline.run(call, sink)
        if reply is None:
            return Answer(call.status, sink.headers, sink.body, call)
        return Answer(reply.status, _readable(reply.headers), reply.body, call)

    def sent(self, model: str, number: int = -1) -> dict[str, Any]:
        """The document that an upstream was sent."""
        found: dict[str, Any] = orjson.loads(self.lines[model].sent[number][1])
        return found

    def held(self, counter_of: str) -> int:
        """Units of a counter that requests have now, by a part of its name."""
        found = [one for name, one in self.quota._leases._counters.items() if counter_of in name]
        assert found
        return sum(one.out for one in found)

    def out_nano_usd(self) -> int:
        """Money that is set aside or spent and not yet in the ledger."""
        counters = list(self.quota._leases._counters.values())
        return sum(one.out for one in counters if one.kind == "m")


class Totals:
    """What the database has of budgets' periods."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.budgets")

    async def opened_epoch(self, period_id: int) -> str | None:
        epoch: str | None = await self._postgres.fetchval(self._sql["opened_epoch"], period_id)
        return epoch

    async def open_in(self, epoch: str, period_id: int) -> int:
        return int(await self._postgres.fetchval(self._sql["open_counter"], period_id, epoch))


@asynccontextmanager
async def opened(postgres: Postgres, valkey: Valkey, worker: str = "w1") -> AsyncIterator[Site]:
    """All of it."""
    tasks = Tasks()
    limits, budgets = Limits(postgres, tasks), Budgets(postgres, tasks)
    await limits.load()
    await budgets.load()
    openings = Openings(Totals(postgres), _nobody_is_absent, 5000)
    quota = await Quota.open(valkey, worker, others_alive=_nobody_else, open_money=openings.open)
    try:
        yield Site(postgres, quota, limits, budgets)
    finally:
        await quota.close()
        await tasks.drain(0.0)


async def _nobody_else() -> bool:
    return False


async def _nobody_is_absent(name: str, epoch: str) -> tuple[str, ...]:
    return ()


async def _fetch_nothing(url: str) -> tuple[str, bytes]:
    raise AssertionError(url)


def _readable(headers: Headers) -> dict[str, str]:
    names = [name for name, _ in headers]
    assert len(names) == len(set(names)), "a header is there twice"
    return {name.decode(): value.decode() for name, value in headers}


def used(prompt: int, completion: int) -> dict[str, int]:
    """A usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def hanging(**more: Any) -> Script:
    """An upstream that does not answer."""
    return Script(hang=True, before_head=True, **more)
