"""Several workers' quotas over one real Valkey: what they give together, and when the store is slow, away or lost."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.services.quota.counter import HELD, MONEY, RATE, Counter, Kind, OnStoreFailure
from gateway.services.quota.exchange import EPOCH_KEY, Opening
from gateway.services.quota.options import QuotaOptions
from gateway.services.quota.service import Quota
from gateway.store.embedded import EmbeddedStores
from gateway.store.valkey import Valkey

POLICIES: tuple[OnStoreFailure, ...] = ("deny", "allow", "local")
FAST = QuotaOptions(lease_s=1.0, gone_s=0.6)


class Ledger:
    """What money counters open with, and what was spent of them; `alone` is whether other workers may hold leases."""

    def __init__(self) -> None:
        self.spent: Tally[str] = Tally()
        self.alone = True

    async def open_money(self, name: str, epoch: str) -> Opening:
        return Opening(self.spent[name], 0)

    async def others_alive(self) -> bool:
        return not self.alone

    def book(self, quota: Quota, counter: Counter, amount: int) -> None:
        self.spent[counter.name] += amount
        quota.settle(counter, amount, self.spent[counter.name])

    async def totals(self, names: list[str]) -> list[int]:
        return [self.spent[name] for name in names]


class Workers:
    """Quotas over one Valkey; `ledger` is theirs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ledger = Ledger()
        self.quotas: list[Quota] = []
        self._clients: list[Valkey] = []

    async def hire(self, number: int, options: QuotaOptions = FAST) -> list[Quota]:
        for _ in range(number):
            valkey = await Valkey.open(self.address, timeout_s=0.5)
            self._clients.append(valkey)
            name = f"worker-{len(self.quotas)}"
            ledger = self.ledger
            self.quotas.append(
                await Quota.open(
                    valkey, name, others_alive=ledger.others_alive, open_money=ledger.open_money, options=options
                )
            )
        hired = self.quotas[-number:]
        await until(lambda: all(quota.last.alive >= len(self.quotas) for quota in hired))
        return hired

    def counters(self, kind: Kind, limit: int, window_s: int = 0, failure: OnStoreFailure = "local") -> list[Counter]:
        return [quota.counter("it", kind, limit, window_s, failure) for quota in self.quotas]

    async def close(self) -> None:
        for quota in self.quotas:
            await quota.close()
        for valkey in self._clients:
            await valkey.close()


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Return when the condition holds; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.005)


async def die(quota: Quota) -> None:
    """End its exchanges as a kill does: nothing is given back."""
    assert quota._beat is not None
    quota._closing = True
    await asyncio.wait((quota._beat,))


async def given(quota: Quota, counter: Counter, amount: int = 1) -> bool:
    return await quota.acquire([(counter, amount)]) is None


@pytest.fixture
async def workers(valkey: Valkey, stores: object) -> AsyncIterator[Workers]:
    """Nobody is hired yet; Valkey is empty."""
    assert hasattr(stores, "valkey")
    made = Workers(stores.valkey)
    yield made
    await made.close()


@asynccontextmanager
async def own_valkey() -> AsyncIterator[tuple[Workers, Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]]:
    """Workers over a Valkey of their own, and how to stop and start it."""
    home = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    servers = EmbeddedStores(home, postgres=False)
    addresses = await servers.start()
    assert addresses.valkey is not None
    made = Workers(addresses.valkey)

    async def start() -> None:
        await servers.start()

    try:
        yield made, servers.stop, start
    finally:
        await made.close()
        await servers.stop()
        shutil.rmtree(home, ignore_errors=True)


async def fresh_window(quota: Quota, counter: Counter) -> None:
    """Wait until a window of `counter` has just begun."""
    window = quota.last.window(counter, time.monotonic())[0]
    await until(lambda: quota.last.window(counter, time.monotonic())[0] != window)
    await asyncio.sleep(0.02)


# --- exact and usable ---------------------------------------------------------------------------


async def test_a_saturated_rate_is_used_up_and_never_exceeded(workers: Workers) -> None:
    quotas = await workers.hire(4)
    counters = workers.counters(RATE, 600, 2)
    used: Tally[int] = Tally()
    await fresh_window(quotas[0], counters[0])
    stop = time.monotonic() + 1.9

    async def client(quota: Quota, counter: Counter) -> None:
        while time.monotonic() < stop:
            if await given(quota, counter):
                used[counter.window] += 1
            await asyncio.sleep(0.004)

    await asyncio.gather(*(client(*pair) for pair in zip(quotas, counters, strict=True) for _ in range(4)))
    assert max(used.values()) <= 600
    assert used.most_common(1)[0][1] >= 570


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_small_limits_are_exact_and_usable_from_any_worker_at_once(workers: Workers, limit: int) -> None:
    quotas = await workers.hire(3)
    rates = [quota.counter("rate", RATE, limit, 3600, "deny") for quota in quotas]
    held = workers.counters(HELD, limit)
    for quota, counter in zip(quotas, held, strict=True):  # from each of them, one after the other
        assert [await given(quota, counter) for _ in range(limit + 1)] == [True] * limit + [False]
        for _ in range(limit):
            quota.give_back(counter, 1)
        await until(lambda counter=counter: counter.holding == 0)  # type: ignore[misc]
    answers = await asyncio.gather(*(given(*pair) for pair in zip(quotas, rates, strict=True) for _ in range(4)))
    assert sum(answers) == limit


async def test_units_at_once_are_never_more_than_the_limit(workers: Workers) -> None:
    quotas = await workers.hire(3)
    counters = workers.counters(HELD, 3)
    at_once, most, done = 0, 0, 0
    stop = time.monotonic() + 0.6

    async def client(quota: Quota, counter: Counter) -> None:
        nonlocal at_once, most, done
        while time.monotonic() < stop:
            if await given(quota, counter):
                at_once += 1
                most, done = max(most, at_once), done + 1
                await asyncio.sleep(random.random() * 0.01)
                at_once -= 1
                quota.give_back(counter, 1)
            await asyncio.sleep(0.002)

    await asyncio.gather(*(client(*pair) for pair in zip(quotas, counters, strict=True) for _ in range(3)))
    assert most == 3
    assert done > 20


async def test_what_is_idle_at_one_worker_goes_back_when_another_runs_short(workers: Workers) -> None:
    idle, busy = await workers.hire(2)
    counters = workers.counters(MONEY, 1_000_000)
    assert await given(idle, counters[0], 10_000)
    assert counters[0].available > 0
    while await given(busy, counters[1], 10_000):
        pass
    began = time.monotonic()
    await until(lambda: counters[0].available == 0)
    assert time.monotonic() - began < 0.25 + 0.1  # the machine has other things to do, too
    while await given(busy, counters[1], 10_000):
        pass
    assert counters[1].holding == 990_000


async def test_clients_that_leave_at_any_moment_take_nothing_with_them(workers: Workers) -> None:
    (quota,) = await workers.hire(1)
    (counter,) = workers.counters(HELD, 5)
    rolls = random.Random(4)
    for _ in range(150):
        tasks = [asyncio.ensure_future(given(quota, counter)) for _ in range(6)]
        for _ in range(rolls.randrange(12)):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if answer is True:
                quota.give_back(counter, 1)
    await until(lambda: counter.out == 0)
    assert [await given(quota, counter) for _ in range(6)] == [True] * 5 + [False]


async def test_a_client_that_is_refused_again_and_again_does_not_ask_each_time(workers: Workers) -> None:
    (quota,) = await workers.hire(1)
    (counter,) = workers.counters(MONEY, 100)
    assert await given(quota, counter, 60)
    before = quota.asked
    assert not any([await given(quota, counter, 50) for _ in range(20)])
    assert quota.asked - before < 10
    assert await given(quota, counter, 40)
    quota.give_back(counter, 60)
    assert await given(quota, counter, 60)


# --- workers that end -------------------------------------------------------------------------


async def test_a_dead_workers_units_at_once_are_free_after_its_lease(workers: Workers) -> None:
    dead, other = await workers.hire(2)
    counters = workers.counters(HELD, 2)
    assert await given(dead, counters[0])
    assert await given(dead, counters[0])
    await die(dead)
    began = time.monotonic()
    assert not await given(other, counters[1])
    while not await given(other, counters[1]):
        await asyncio.sleep(0.02)
    assert time.monotonic() - began > 0.5  # its lease, less the time since its last word


async def test_a_dead_workers_rate_counts_as_spent_until_the_window_ends(workers: Workers) -> None:
    dead, other = await workers.hire(2)
    counters = workers.counters(RATE, 100, 1, "deny")
    await fresh_window(dead, counters[0])
    assert await given(dead, counters[0])
    lost, window = counters[0].holding, counters[0].window
    assert lost > 1
    await die(dead)
    taken = 0
    while await given(other, counters[1]):
        taken += counters[1].window == window
    assert taken <= 100 - lost
    await fresh_window(other, counters[1])
    assert await given(other, counters[1], 100)


async def test_a_dead_workers_money_is_free_when_it_is_buried_and_not_before(workers: Workers) -> None:
    dead, other = await workers.hire(2)
    counters = workers.counters(MONEY, 1000)
    assert await given(dead, counters[0], 600)
    lost = counters[0].holding
    await die(dead)
    await asyncio.sleep(1.1)
    assert not await given(other, counters[1], 401)
    workers.ledger.spent["it"] = 250  # what its journal said
    assert await other.bury("worker-0", workers.ledger.totals) == lost
    workers.quotas.remove(dead)  # nothing that it says is heard any more
    assert await other.bury("worker-0", workers.ledger.totals) == 0
    await until(lambda: counters[1].refused_until < time.monotonic())
    assert not await given(other, counters[1], 751)
    assert await given(other, counters[1], 750)


async def test_a_worker_that_was_silent_for_a_lease_spends_nothing_of_it(workers: Workers) -> None:
    hung, other = await workers.hire(2)
    counters = workers.counters(HELD, 100)
    assert await given(hung, counters[0])
    assert counters[0].available > 0
    await die(hung)  # stopped, for now
    await asyncio.sleep(1.1)
    assert [await given(other, counters[1]) for _ in range(101)] == [True] * 100 + [False]
    hung._closing = False
    hung._beat = hung._tasks.spawn(hung._exchange_forever(), name="awake again")
    assert not await given(hung, counters[0])
    assert (counters[0].out, counters[0].available) == (1, 0)


async def test_closing_gives_back_what_is_leased(workers: Workers) -> None:
    first, other = await workers.hire(2)
    counters = workers.counters(MONEY, 1000)
    assert await given(first, counters[0], 10)
    await first.close()
    assert await given(other, counters[1], 990)


# --- a store that is lost -----------------------------------------------------------------------


async def spend_until(stop: float, workers: Workers, counters: list[Counter], under_way: Tally[str]) -> None:
    """Spend money at every worker until `stop`; what is settled and what is under way never exceed the limit."""

    async def client(quota: Quota, counter: Counter) -> None:
        while time.monotonic() < stop:
            need = random.randint(1, 20_000)
            if await quota.acquire([(counter, need)]) is None:
                under_way["it"] += need
                assert workers.ledger.spent["it"] + under_way["it"] <= counter.limit
                await asyncio.sleep(random.random() * 0.02)
                cost = random.randint(need // 2, need)
                under_way["it"] -= need
                quota.give_back(counter, need - cost)
                workers.ledger.book(quota, counter, cost)
            await asyncio.sleep(0.003)

    pairs = list(zip(workers.quotas, counters, strict=True))
    await asyncio.gather(*(client(*pair) for pair in pairs for _ in range(4)))


async def all_is_right(workers: Workers, counters: list[Counter]) -> None:
    """Once nothing is under way, what the ledger has not got may be spent, to the last unit, by anybody."""
    quota, counter = workers.quotas[-1], counters[-1]
    left = counter.limit - workers.ledger.spent["it"]
    deadline = time.monotonic() + 3
    while not await given(quota, counter, left):
        assert time.monotonic() < deadline, (left, counter.remaining)
        await asyncio.sleep(0.03)
    assert not await given(quota, counter, 1)


async def test_an_emptied_store_costs_no_budget_and_is_right_again(valkey: Valkey, workers: Workers) -> None:
    await workers.hire(3)
    workers.ledger.alone = False
    counters = workers.counters(MONEY, 10_000_000)
    load = asyncio.ensure_future(spend_until(time.monotonic() + 2.0, workers, counters, Tally()))
    await asyncio.sleep(0.3)
    await valkey.client.flushall()
    await load
    assert workers.ledger.spent["it"] > 0
    await all_is_right(workers, counters)


async def test_one_counter_that_is_lost_by_itself_is_told_what_is_held(valkey: Valkey, workers: Workers) -> None:
    first, other = await workers.hire(2)
    counters = workers.counters(MONEY, 1000)
    assert await given(first, counters[0], 700)
    (key,) = await valkey.client.keys("*:m:it")
    await valkey.client.delete(key)
    await asyncio.sleep(0.7)
    assert not await given(other, counters[1], 400)
    assert await given(other, counters[1], 300)


async def test_a_store_that_restarts_gives_no_more_than_before() -> None:
    async with own_valkey() as (workers, stop, start):
        await workers.hire(2)
        workers.ledger.alone = False
        counters = workers.counters(MONEY, 3_000_000, failure="deny")
        load = asyncio.ensure_future(spend_until(time.monotonic() + 2.0, workers, counters, Tally()))
        await asyncio.sleep(0.3)
        await stop()
        await start()
        await load
        await all_is_right(workers, counters)


async def test_forgotten_scripts_are_sent_again(valkey: Valkey, workers: Workers) -> None:
    (quota,) = await workers.hire(1)
    (counter,) = workers.counters(HELD, 3)
    await valkey.client.script_flush()
    assert await given(quota, counter)
    assert quota.alone == 0


async def test_workers_that_begin_together_begin_one_epoch(valkey: Valkey, workers: Workers) -> None:
    quotas = await workers.hire(3)
    told: list[str] = []
    for quota in quotas:
        quota.on_event = told.append
    await valkey.client.delete(EPOCH_KEY)
    await until(lambda: told == ["rebuilt"])
    await until(lambda: len({quota._epoch for quota in quotas}) == 1)
    counters = workers.counters(HELD, 3)
    answers = await asyncio.gather(*(given(*pair) for pair in zip(quotas, counters, strict=True) for _ in range(2)))
    assert sum(answers) == 3
    assert told == ["rebuilt"]


async def test_a_server_that_forgets_keys_is_refused(valkey: Valkey, workers: Workers) -> None:
    await valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(GatewayError, match="allkeys-lru") as refused:
            await workers.hire(1)
        assert (refused.value.code, refused.value.failure.status) == ("store_unsuitable", 503)
    finally:
        await valkey.client.config_set("maxmemory-policy", "noeviction")


# --- a store that is away -----------------------------------------------------------------------


async def test_while_valkey_is_away_each_limit_does_as_it_says() -> None:
    async with own_valkey() as (workers, stop, _):
        quotas = await workers.hire(2)
        deny, allow, local = ([quota.counter(failure, RATE, 8, 1, failure) for quota in quotas] for failure in POLICIES)
        await until(lambda: all(quota.last.alive == 2 for quota in quotas))
        await stop()
        await until(lambda: all(quota.away_since is not None for quota in quotas))
        await fresh_window(quotas[0], local[0])
        for quota, *counters in zip(quotas, deny, allow, local, strict=True):
            assert [sum([await given(quota, each) for _ in range(10)]) for each in counters] == [0, 10, 4]
        refusal = await quotas[0].acquire([(deny[0], 1)])
        assert refusal is not None
        assert refusal.reason == "away"
        await fresh_window(quotas[0], local[0])
        assert [await given(quotas[0], local[0]) for _ in range(5)] == [True] * 4 + [False]


async def test_when_valkey_is_back_it_hears_what_was_spent_without_it() -> None:
    async with own_valkey() as (workers, stop, start):
        quotas = await workers.hire(2)
        workers.ledger.alone = False
        counters = workers.counters(RATE, 100, 86_400, "allow")
        assert await given(quotas[0], counters[0])
        await stop()
        await until(lambda: quotas[0].away_since is not None)
        assert all([await given(quotas[0], counters[0]) for _ in range(30)])
        await start()
        await until(lambda: quotas[0].away_since is None and quotas[0].last.closed_until < time.monotonic())
        assert counters[0].out == 31
        await until(lambda: quotas[1].away_since is None)
        counters = workers.counters(RATE, 100, 86_400, "deny")
        taken = 0
        while await given(quotas[1], counters[1]):
            taken += 1
        assert 69 - counters[0].available <= taken <= 69


async def test_a_worker_that_was_born_in_the_outage_has_no_part() -> None:
    async with own_valkey() as (workers, stop, _):
        valkey = await Valkey.open(workers.address, timeout_s=0.5)
        await stop()
        ledger = workers.ledger
        quota = await Quota.open(
            valkey, "late", others_alive=ledger.others_alive, open_money=ledger.open_money, options=FAST
        )
        workers.quotas.append(quota)
        gets = [await given(quota, quota.counter(failure, RATE, 8, 2, failure)) for failure in POLICIES]
        assert gets == [False, True, False]
        await valkey.close()


async def test_nobody_waits_for_a_valkey_that_hangs() -> None:
    async with own_valkey() as (workers, _, _):
        quotas = await workers.hire(2)
        counters = workers.counters(HELD, 4, failure="deny")
        assert await given(quotas[0], counters[0])
        process = int((await workers._clients[0].client.info("server"))["process_id"])
        os.kill(process, signal.SIGSTOP)
        try:
            waits = []
            for _ in range(15):
                began = time.monotonic()
                assert not await given(quotas[0], counters[0])
                waits.append(time.monotonic() - began)
                await asyncio.sleep(0.05)
            assert sorted(waits)[len(waits) // 2] < 0.08
            assert max(waits) < 0.3  # the machine has other things to do, too
            assert quotas[0].away_since is not None
        finally:
            os.kill(process, signal.SIGCONT)
        await until(lambda: all(quota.away_since is None for quota in quotas))
        quotas[0].give_back(counters[0], 1)
        taken = 0
        deadline = time.monotonic() + 3
        while taken < 4:
            taken += await given(quotas[1], counters[1])
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not await given(quotas[0], counters[0])
