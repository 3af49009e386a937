"""The script and the arithmetic of leases against a simple model: random workers, losses, deaths, an emptied store."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from gateway.services.quota.counter import HELD, MONEY, RATE
from gateway.services.quota.exchange import EPOCH_KEY, WORKERS_KEY, Opening, counter_key, last_key, money_key
from gateway.store.embedded import StoreAddresses
from tests.integration.services.quota_worker import COUNTERS, Grant, Worker

BUDGET = "a budget"
MANY = "many a day"
WHICH = st.integers(0, 2)  # the worker
SIZES = {
    "few a second": st.integers(1, 4),
    "many a day": st.integers(1, 150),
    "three at once": st.just(1),
    "thirty at once": st.sampled_from([1, 1, 1, 2, 12]),
    BUDGET: st.integers(1, 1_200_000),
}
ONE = st.sampled_from(sorted(SIZES)).map(lambda name: {name})
SEVERAL = st.sets(st.sampled_from(sorted(SIZES)), min_size=2)
ASKS = (ONE | SEVERAL).flatmap(lambda names: st.fixed_dictionaries({name: SIZES[name] for name in sorted(names)}))


class Counting(RuleBasedStateMachine):
    """Three workers; one that dies is replaced. `ledger` is what the budget's rows add up to."""

    def __init__(self, client: Redis, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.client, self.loop = client, loop
        self.born = 0
        self.dead: list[Worker] = []
        self.ledger = 0
        self.granted: Tally[tuple[str, int]] = Tally()
        self.charged = 0
        self.epochs = 0
        self.closed = False  # the counters were lost, and not all have told what they hold
        self.rates_known = True  # what a dead worker took of a rate is lost with the store

    @initialize()
    def begin(self) -> None:
        self.client.flushdb()
        self.workers = [self._born() for _ in range(3)]

    def _born(self) -> Worker:
        self.born += 1
        return Worker(self.client, f"w{self.born}", self.loop)

    # --- what may happen ------------------------------------------------------------------------

    @rule(which=WHICH, amounts=ASKS)
    def a_request_asks(self, which: int, amounts: dict[str, int]) -> None:
        self.workers[which].ask(amounts)

    @rule(which=WHICH, amounts=ASKS)
    def a_request_asks_and_is_answered(self, which: int, amounts: dict[str, int]) -> None:
        self.workers[which].ask(amounts)
        self._exchange(self.workers[which])

    @rule(which=WHICH, fate=st.sampled_from(["", "", "unsent", "unheard"]))
    def a_worker_exchanges(self, which: int, fate: str) -> None:
        self._exchange(self.workers[which], fate)

    @rule(which=WHICH, amounts=ASKS)
    def a_client_leaves_while_it_is_answered(self, which: int, amounts: dict[str, int]) -> None:
        worker = self.workers[which]
        worker.ask(amounts)
        self._exchange(worker, "unheard")
        worker.asks[-1].answer.cancel()
        worker.leases.drop(worker.asks[-1])
        self._exchange(worker)

    @rule(which=WHICH)
    def a_client_leaves(self, which: int) -> None:
        worker = self.workers[which]
        if worker.asks:
            worker.asks[0].answer.cancel()
            worker.leases.drop(worker.asks[0])

    @rule(which=WHICH, part=st.floats(0, 1))
    def a_request_ends(self, which: int, part: float) -> None:
        worker = self.workers[which]
        if worker.grants:
            self._end(worker, worker.grants.pop(0), part)

    @rule(which=WHICH, amount=st.integers(1, 30))
    def a_request_used_more_than_it_had(self, which: int, amount: int) -> None:
        worker = self.workers[which]
        worker.leases.charge(worker.counters[MANY], amount, worker.last.heard_at)
        self.charged += amount

    @rule(which=WHICH)
    def a_journal_is_copied(self, which: int) -> None:
        self._copy(self.workers[which])

    @rule(which=WHICH)
    def a_counter_is_opened(self, which: int) -> None:
        self._open(self.workers[which])

    @rule(which=WHICH)
    def an_exchange_comes_late(self, which: int) -> None:
        worker = self.workers[which]
        if len(worker.heard) > 1:
            before = self._dump()
            worker.run("exchange", *worker.heard[-2])
            assert self._dump() == before

    @rule(which=WHICH)
    def a_worker_is_silent_for_a_lease(self, which: int) -> None:
        worker = self.workers[which]
        if worker.epoch and self.client.zscore(WORKERS_KEY, worker.name) is not None:
            worker.silent = True
            worker.overdue = worker.sent is not None
            worker.last.trusted_until = 0.0
            self.client.zadd(WORKERS_KEY, {worker.name: 0})

    @rule(which=WHICH, name=st.sampled_from(["three at once", "thirty at once"]))
    def another_takes_what_the_silent_had(self, which: int, name: str) -> None:
        self.a_worker_is_silent_for_a_lease((which + 1) % 3)
        for amount in (1, COUNTERS[name][1] // 2, COUNTERS[name][1] // 3, 1, 1):
            self.a_request_asks_and_is_answered(which, {name: amount})

    @rule(which=WHICH)
    def idle_leases_go_back(self, which: int) -> None:
        self.workers[which].leases.return_all()

    @rule(which=WHICH)
    def a_worker_dies(self, which: int) -> None:
        dead = self.workers[which]
        self.dead.append(dead)
        self.workers[which] = self._born()
        dead.silent = dead.silent or self.closed
        self.rates_known = self.rates_known and not self.closed

    @rule()
    def a_dead_worker_is_buried(self) -> None:
        if self.dead:
            self._bury(self.dead.pop(0))

    @rule()
    def the_store_is_emptied(self) -> None:
        self.rates_known = self.rates_known and self.born == 3
        for dead in self.dead:  # its requests at once died with it; its money is not forgotten
            dead.silent = True
        self.client.flushdb()
        self.closed = True
        self.epochs += 1
        self.workers[0].run("found", [EPOCH_KEY, WORKERS_KEY], [f"e{self.epochs}", str(10**9)])

    @rule(which=WHICH, amount=SIZES[BUDGET], heard=st.booleans(), buried=st.booleans())
    def the_store_is_emptied_and_a_worker_dies(self, which: int, amount: int, heard: bool, buried: bool) -> None:
        self.workers[which].ask({BUDGET: amount})
        for worker in self.workers * 3:
            self._exchange(worker)
            self._open(worker)
        self.the_store_is_emptied()
        for worker in self.workers * 2:
            if heard or worker is not self.workers[which]:
                self._exchange(worker)
        self.a_worker_dies(which)
        other = self.workers[(which + 1) % 3]
        self.a_request_asks_and_is_answered((which + 1) % 3, {BUDGET: 1})
        self._open(other)
        if buried:
            self._bury(self.dead.pop())
        self.a_leases_lifetime_has_passed()
        for part in (2, 3, 5):
            self.a_request_asks_and_is_answered((which + 1) % 3, {BUDGET: COUNTERS[BUDGET][1] // part})

    @rule()
    @precondition(lambda self: self.closed)
    def a_leases_lifetime_has_passed(self) -> None:
        for worker in self.workers * 3:
            self._exchange(worker)
        assert self._row(BUDGET).get("s", self.ledger) == self.ledger
        self.client.hset(EPOCH_KEY, "opens", 0)
        self.closed = False

    @rule()
    def a_budgets_counter_is_lost_by_itself(self) -> None:
        epoch = (self.client.hget(EPOCH_KEY, "id") or b"").decode()
        self.client.delete(counter_key(epoch, self.workers[0].counters[BUDGET]))

    @rule(which=WHICH)
    def a_worker_vouches_for_what_it_holds(self, which: int) -> None:
        self.workers[which].leases._vouch_at = 0.0
        for _ in range(2):
            self._exchange(self.workers[which])

    # --- how it happens -------------------------------------------------------------------------

    def _open(self, worker: Worker) -> None:
        """Where all that may hold anything are known of: with what the ledger has then."""
        others = [each.name for each in (*self.workers, *self.dead) if each is not worker and each.epoch]
        while worker.opening:
            counter = worker.opening.pop()
            sets = [money_key(worker.epoch, name) for name in others]
            if not worker.run("absent", [WORKERS_KEY, counter_key(worker.epoch, counter), *sets], others):
                worker.leases.open(counter, Opening(self.ledger, 0))

    def _exchange(self, worker: Worker, fate: str = "") -> None:
        for counter in worker.exchange(fate):
            if not worker.opening:
                worker.opening.append(counter)
        for ask, refusal in worker.answers():
            if refusal is None:
                grant = Grant(list(ask.amounts), [counter.window for counter, _ in ask.amounts])
                worker.grants.append(grant)
                self._check(grant)

    def _check(self, grant: Grant) -> None:
        everyone = self.workers + self.dead
        for (counter, amount), window in zip(grant.amounts, grant.windows, strict=True):
            if counter.kind == RATE:
                self.granted[counter.name, window] += amount
                assert not self.rates_known or self.granted[counter.name, window] <= counter.limit
            elif counter.kind == HELD:
                assert sum(worker.out(counter.name) for worker in everyone if not worker.silent) <= counter.limit
            else:
                assert self.ledger + sum(each.out(BUDGET) + sum(each.spent) for each in everyone) <= counter.limit

    def _end(self, worker: Worker, grant: Grant, part: float) -> None:
        for (counter, amount), window in zip(grant.amounts, grant.windows, strict=True):
            used = int(amount * part)
            if counter.kind == HELD:
                worker.leases.give_back(counter, amount)
            elif counter.kind == MONEY:
                worker.leases.give_back(counter, amount - used)
                worker.spent.append(used)
            elif counter.window == window and not counter.over(worker.last.heard_at):
                worker.leases.give_back(counter, amount - used)
                self.granted[counter.name, window] -= amount - used

    def _copy(self, worker: Worker) -> None:
        for cost in worker.spent:
            self.ledger += cost
            worker.leases.settle(worker.counters[BUDGET], cost, self.ledger)
        worker.spent.clear()

    def _bury(self, worker: Worker) -> None:
        self.ledger += worker.out(BUDGET) + sum(worker.spent)  # what never ended costs what was set aside
        epoch = self.client.hget(EPOCH_KEY, "id")
        if epoch is not None:
            own = money_key(epoch.decode(), worker.name)
            keys = sorted(key.decode() for key in self.client.smembers(own))
            totals = [str(self.ledger)] * len(keys)
            last = last_key(epoch.decode(), worker.name)
            worker.run("bury", [WORKERS_KEY, own, last, *keys], [worker.name, *totals])
            assert not keys or self.ledger in (self._row(BUDGET).get("s"), self._row(BUDGET).get("l"))

    def _row(self, name: str) -> dict[str, int]:
        return self._rows([name])[0]

    def _rows(self, names: list[str]) -> list[dict[str, int]]:
        epoch = (self.client.hget(EPOCH_KEY, "id") or b"").decode()
        asked = self.client.pipeline(transaction=False)
        for name in names:
            asked.hgetall(counter_key(epoch, self.workers[0].counters[name]))
        return [{key.decode(): int(value) for key, value in row.items()} for row in asked.execute()]

    def _dump(self) -> dict[bytes, Any]:
        return {key: self.client.hgetall(key) for key in self.client.keys("*") if self.client.type(key) == b"hash"} | {
            WORKERS_KEY.encode(): self.client.zrange(WORKERS_KEY, 0, -1)
        }

    # --- what holds whatever happens --------------------------------------------------------------

    @invariant()
    def no_count_is_negative_and_parts_add_up(self) -> None:
        for (_, (kind, _, _)), row in zip(COUNTERS.items(), self._rows(list(COUNTERS)), strict=True):
            assert all(value >= 0 for value in row.values())
            if kind != RATE:
                assert row.get("t", 0) == sum(value for key, value in row.items() if key.startswith("w"))
            assert row.get("s", 0) <= self.ledger
        for worker in getattr(self, "workers", []):
            assert all(0 <= each.available <= each.holding for each in worker.counters.values())

    def teardown(self) -> None:
        if not hasattr(self, "workers"):
            return
        while self.dead:
            self._bury(self.dead.pop(0))
        if self.closed:
            self.a_leases_lifetime_has_passed()
        for worker in self.workers * 3:  # all are heard of
            worker.leases._vouch_at = 0.0
            self._exchange(worker)
        for worker in self.workers:
            for _ in range(5):  # whatever is under way comes to its end
                self._exchange(worker)
                self._open(worker)
                while worker.grants:
                    self._end(worker, worker.grants.pop(0), 0.5)
                self._copy(worker)
                worker.leases.return_all()
            assert not worker.asks
        money = self._row(BUDGET)
        assert money.get("t", 0) == 0
        assert money.get("s", 0) in (0, self.ledger)
        (window,) = {each for name, each in self.granted if name == MANY} or {0}
        if self.born == 3:  # what a dead worker had leased of a rate counts as spent
            assert self._row(MANY).get("u", 0) == self.granted[MANY, window] + self.charged
        self._all_is_there_for_one()

    def _all_is_there_for_one(self) -> None:
        worker = self.workers[0]
        left = COUNTERS[BUDGET][1] - self.ledger
        for name, amount in (("three at once", 3), ("thirty at once", 30), (BUDGET, left)):
            worker.ask({name: amount})
            for _ in range(3):
                self._exchange(worker)
                self._open(worker)
            assert worker.out(name) == amount, name


@pytest.fixture
def client(stores: StoreAddresses) -> Iterator[Redis]:
    """A database that nobody else uses."""
    assert stores.valkey is not None
    with Redis.from_url(f"{stores.valkey}?db=9") as client:
        yield client
        client.flushdb()


def test_leases_never_give_more_than_there_is_and_lose_nothing(client: Redis) -> None:
    loop = asyncio.new_event_loop()
    run_state_machine_as_test(
        lambda: Counting(client, loop),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # to look for a shorter example takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    loop.close()
