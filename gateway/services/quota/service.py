"""`Quota`: takes units from leases, and keeps this worker's exchanges with Valkey going."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway.errors import GatewayError
from gateway.services.quota.ask import Amounts, Ask, Refusal, refused_lately
from gateway.services.quota.counter import MONEY, RATE, Counter
from gateway.services.quota.exchange import (
    EPOCH_KEY,
    WORKERS_KEY,
    Exchange,
    Identity,
    Opening,
    last_key,
    money_key,
    read_answer,
)
from gateway.services.quota.leases import Leases
from gateway.services.quota.options import QuotaOptions
from gateway.services.quota.outage import LastWord, waits_for_share
from gateway.services.quota.scripts import Scripts, check_policy
from gateway.services.quota.silence import MUTE_S, Silence
from gateway.store.valkey import Valkey
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.quota")

_BUSY_BEAT_S: Final = 0.2  # so soon goes back what is idle here and short elsewhere
_IDLE_BEAT_S: Final = 1.0
_RETRY_S: Final = 0.05
_LONGEST_RETRY_S: Final = 1.0
_OPENING_S: Final = 2.0
_LATE_S: Final = 0.01
_TRUST: Final = 0.8  # a worker stops spending before others count its units as free
_VOUCH: Final = 0.4  # of a lease: a counter that was lost by itself is closed for one, and all have to tell in time
_PATIENCE: Final = 0.2  # of a lease: so long journals of dead workers may take to be copied, before all have to wait
_LOOK: Final = 0.02
_CLOSING_S: Final = 1.0
_AWAY: Final = (GatewayError, RedisError, OSError)


async def _nothing() -> None:
    pass


class _Sent(NamedTuple):
    """An exchange that is on its way, maybe for the second time, since `began`."""

    exchange: Exchange
    asks: list[Ask]
    keys: list[str]
    arguments: list[str]
    began: float


class Quota:
    """One per worker. Made by `await Quota.open(…)`; `close` gives back what is leased.

    `on_event` hears `away`, `back` and `rebuilt`. The figures count decisions: `leased` were made from leases, `asked`
    had to ask Valkey, `alone` were decided without it while it was away, `refused` were refused either way.
    """

    def __init__(
        self,
        valkey: Valkey,
        worker: str,
        options: QuotaOptions,
        others_alive: Callable[[], Awaitable[bool]],
        open_money: Callable[[str, str], Awaitable[Opening]],
        before_holding: Callable[[], Awaitable[None]],
    ) -> None:
        self._valkey = valkey
        self._options = options
        self._others_alive = others_alive
        self._open_money = open_money
        self._before_holding = before_holding
        self._identity = Identity(worker, int(options.lease_s * 1000), int(options.gone_s * 1000))
        self._loop = asyncio.get_running_loop()
        # Not the loop's clock, which stands still while the loop, or the whole process, does.
        self._now = time.monotonic
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._wake.set()
        self._leases = Leases(self._wake.set, _VOUCH * options.lease_s)
        self._opening: set[Counter] = set()
        self._sent: _Sent | None = None
        # A number that another Quota of the same name has not used, should there have been one.
        self._sequence = time.time_ns() // 1000
        self._epoch = ""
        self._silence = Silence(self._loop)
        self._beat: asyncio.Task[None] | None = None
        self._closing = False
        self._scripts = Scripts(valkey)
        self.last = LastWord()
        self.away_since: float | None = None
        self.on_event: Callable[[str], None] = lambda what: None
        self.leased = 0
        self.asked = 0
        self.alone = 0
        self.refused = 0
        self.counter = self._leases.counter
        self.settle = self._leases.settle

    @classmethod
    async def open(
        cls,
        valkey: Valkey,
        worker: str,
        *,
        others_alive: Callable[[], Awaitable[bool]],
        open_money: Callable[[str, str], Awaitable[Opening]],
        before_holding: Callable[[], Awaitable[None]] = _nothing,
        options: QuotaOptions | None = None,
    ) -> Quota:
        """Begin the exchanges. Raises GatewayError(store_unsuitable) where the server may forget counters.

        `worker` is the id under which it holds leases: its journal's, so that whoever reads the journal of a dead
        worker can free them. `others_alive` says whether other workers may hold leases; `open_money(name, epoch)` what
        a money counter that Valkey does not know opens with, or raises budget_rebuilding where it may not be opened
        yet; `before_holding` is awaited before this worker may hold any, so that others can be told. All may raise
        GatewayError.
        """
        try:
            await check_policy(valkey)
        except _AWAY as error:
            if isinstance(error, GatewayError) and error.code == "store_unsuitable":
                raise
        quota = cls(valkey, worker, options or QuotaOptions(), others_alive, open_money, before_holding)
        quota._beat = quota._tasks.spawn(quota._exchange_forever(), name="quota")
        return quota

    # --- the hot path -----------------------------------------------------------------------------

    def take(self, amounts: Amounts) -> bool:
        """Take all units from leases at once; False, and nothing taken, where Valkey has to be asked."""
        now = self._now()
        if now >= self.last.trusted_until:
            return False
        for counter, amount in amounts:
            if counter.available < amount or now >= counter.until:
                return False
        for counter, amount in amounts:
            counter.available -= amount
        self.leased += 1
        return True

    def give_back(self, counter: Counter, amount: int, window: int = 0) -> None:
        """Units that were taken (a rate's in `window`) and not used, or not any more."""
        if counter.kind != RATE or (counter.window == window and self._now() < counter.until):
            self._leases.give_back(counter, amount)

    def charge(self, counter: Counter, amount: int) -> None:
        """Units that were used beyond what was taken: they count whatever the limit, a rate's in the present window."""
        self._leases.charge(counter, amount, self._now())

    async def acquire(self, amounts: Amounts) -> Refusal | None:
        """Take all units, or none: then the refusal says why. Each counter may be named once.

        Waits `store_timeout_s` at most, but for a money counter that is being opened, and, until it is known that
        Valkey is mute, for counters that would then go on with a part of their limit.
        """
        if self.take(amounts):
            return None
        refusal = await self._ask(amounts)
        if refusal is not None:
            self.refused += 1
        return refusal

    async def _ask(self, amounts: Amounts) -> Refusal | None:
        if self._unheard:
            return self._decide_alone(amounts)
        refusal = refused_lately(amounts, self._now())
        if refusal is not None:
            return refusal
        self.asked += 1
        patience_s = self._options.store_timeout_s
        ask = Ask(amounts, self._loop.create_future(), self._now() + patience_s)
        self._leases.waiting.append(ask)
        self._wake.set()
        timer = self._loop.call_later(patience_s, self._too_late, ask)
        try:
            refusal = await ask.answer
        except asyncio.CancelledError:
            self._give_up(ask)
            raise
        finally:
            timer.cancel()
        if refusal is not None and refusal.reason == "rebuilding" and refusal.counter.kind != MONEY:
            return self._decide_alone(amounts)
        return refusal

    def _too_late(self, ask: Ask) -> None:
        """The time to wait is over. It is longer where the ledger is asked what was spent before, and a little longer
        where the loop itself was late, so that Valkey's answer may just not have been read, or where it is soon known
        that Valkey is mute, so that a part of a limit can be spent."""
        if ask.answer.done():
            return
        late = self._now() - ask.due > _LATE_S
        if not ask.extended and (ask.opening or late):
            ask.extended = True
            self._loop.call_later(_OPENING_S if ask.opening else _LATE_S, self._too_late, ask)
            return
        if not (ask.opening or ask.extended or self._unheard) and waits_for_share(ask.amounts, self.last, self._now()):
            ask.extended = True
            self._loop.call_later(MUTE_S, self._too_late, ask)
            return
        self._leases.drop(ask)
        if ask.opening:
            money = next(counter for counter, _ in ask.amounts if counter.kind == MONEY)
            ask.tell(Refusal(money, "rebuilding", 1.0))
        else:
            ask.tell(self._decide_alone(ask.amounts))

    def _give_up(self, ask: Ask) -> None:
        """Nobody waits any more: what was given in this very moment is there for others."""
        self._leases.drop(ask)
        if not ask.answer.cancelled() and ask.answer.result() is None:
            for counter, amount in ask.amounts:
                self.give_back(counter, amount, counter.window)

    @property
    def _unheard(self) -> bool:
        return self.away_since is not None or self._silence.mute

    def _decide_alone(self, amounts: Amounts) -> Refusal | None:
        self.alone += 1
        now = self._now()
        share = self._unheard or now < self.last.closed_until
        refuser = self._leases.spend_unasked(amounts, self.last, now, share=share)
        return None if refuser is None else Refusal(refuser, "away", 1.0)

    def reset_in_s(self, counter: Counter) -> float:
        """Seconds until a rate's window ends; 0 for other kinds."""
        if counter.kind != RATE:
            return 0.0
        now = self._now()
        return max(0.0, (counter.until if counter.until > now else self.last.window(counter, now)[1]) - now)

    # --- the exchanges ----------------------------------------------------------------------------

    async def _exchange_forever(self) -> None:
        pause_s = _RETRY_S
        while not self._closing:
            busy = len(self._leases) > 0 or self._sent is not None or not self._epoch
            beat_s = min(_BUSY_BEAT_S if busy else _IDLE_BEAT_S, self._options.lease_s / 4)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(beat_s):
                    await self._wake.wait()
            self._wake.clear()
            wait_s = 0.0
            try:
                await self._exchange()
            except _AWAY as error:
                self._lost(error)
                wait_s, pause_s = pause_s, min(2 * pause_s, _LONGEST_RETRY_S)
            except Exception:  # a mistake of ours must not end the exchanges
                _log.exception("an exchange with the counters failed")
                wait_s = _LONGEST_RETRY_S
            else:
                pause_s = _RETRY_S
            if wait_s:
                await asyncio.sleep(wait_s)

    async def _exchange(self) -> None:
        if not self._epoch:
            epoch = await self._begin_epoch()
            await self._before_holding()
            self._epoch = epoch
        if self._sent is None:
            self._sent = self._compose()
        exchange, asks, keys, arguments, began = self._sent
        self._silence.begin()
        answer = read_answer(await self._scripts.run("exchange", keys, arguments))
        self._sent = None
        self._silence.end()
        if answer.status == "epoch":
            self._leases.unsay(exchange, asks)
            self._epoch = answer.epoch
            self._wake.set()
            return
        self.last.hear(answer, began, _TRUST * self._options.lease_s)
        if self.away_since is not None:
            _log.warning("the counters can be asked again after %.1f s", self._now() - self.away_since)
            self.away_since = None
            self.on_event("back")
        for counter in self._leases.apply(exchange, asks, answer, self.last, self._now()):
            self._begin_opening(counter)

    def _compose(self) -> _Sent:
        began = self._now()
        exchange, asks = self._leases.compose(began, self.last)
        self._sequence += 1
        keys = exchange.keys(self._identity, self._epoch)
        arguments = exchange.arguments(self._identity, self._epoch, self._sequence, self._leases.short_ms)
        return _Sent(exchange, asks, keys, arguments, began)

    async def _known_epoch(self) -> str:
        """The epoch that was begun in this run of the server; empty for none."""
        known: bytes = await self._scripts.run("found", [EPOCH_KEY, WORKERS_KEY], ["", "0"])
        return known.decode()

    async def _begin_epoch(self) -> str:
        """The epoch in force, begun now where there is none."""
        await check_policy(self._valkey)
        lease_s = self._options.lease_s
        deadline = self._now() + _PATIENCE * lease_s
        while not (known := await self._known_epoch()):
            others = await self._others_alive()
            if not others or self._now() >= deadline:
                return await self._new_epoch(int(lease_s * 1000) if others else 0)
            await asyncio.sleep(_LOOK * lease_s)
        return known

    async def _new_epoch(self, wait_ms: int) -> str:
        name = uuid.uuid4().hex[:12]
        found: bytes = await self._scripts.run("found", [EPOCH_KEY, WORKERS_KEY], [name, str(wait_ms)])
        epoch = found.decode()
        if epoch == name:
            _log.warning("the counters begin anew, closed for %.1f s", wait_ms / 1000)
            self.on_event("rebuilt")
        return epoch

    def _lost(self, error: BaseException) -> None:
        if self.away_since is None:
            self.away_since = self._now()
            _log.warning("the counters cannot be asked (%s); each limit's on_store_failure decides", error)
            self.on_event("away")
        waiting, self._leases.waiting = self._leases.waiting, []
        for ask in waiting:
            ask.tell(self._decide_alone(ask.amounts))

    def _begin_opening(self, counter: Counter) -> None:
        if counter not in self._opening:
            self._opening.add(counter)
            self._tasks.spawn(self._open_counter(counter), name="open a counter")

    async def _open_counter(self, counter: Counter) -> None:
        try:
            epoch = self._epoch
            opening = await self._open_money(counter.name, epoch)
            if epoch == self._epoch:  # else it was looked at for nothing, and is found missing again
                self._leases.open(counter, opening)
        except GatewayError as error:
            rebuilding = error.code == "budget_rebuilding"
            if not rebuilding:
                _log.warning("a counter of money cannot be opened: %s", error)
            for ask in [ask for ask in self._leases.waiting if any(each is counter for each, _ in ask.amounts)]:
                self._leases.waiting.remove(ask)
                ask.tell(Refusal(counter, "rebuilding" if rebuilding else "away", 1.0))
        finally:
            self._opening.discard(counter)

    # --- other workers' leases, and the end -----------------------------------------------------------

    async def bury(self, worker: str, totals: Callable[[list[str]], Awaitable[list[int]]]) -> int:
        """Free the money that a worker held whose journal has been read; how much it was.

        `totals` gives the ledger's totals of the counters with these names. Raises GatewayError where a store is away.
        """
        epoch = await self._known_epoch()
        if not epoch:  # nobody holds anything: the counters will be opened with what is in the ledger by now
            return 0
        own, last = money_key(epoch, worker), last_key(epoch, worker)
        await self._scripts.run("bury", [WORKERS_KEY, own, last], [worker])  # what it sent is not heard from here on
        members = await self._valkey.call(lambda client: client.smembers(own))
        keys = sorted(key.decode() if isinstance(key, bytes) else str(key) for key in members)
        arguments = [worker, *(str(total) for total in await totals([key.split(":", 3)[3] for key in keys]))]
        return int(await self._scripts.run("bury", [WORKERS_KEY, own, last, *keys], arguments))

    async def close(self) -> None:
        """Give back what is leased and stop."""
        self._closing = True
        self._wake.set()
        if self._beat is not None:
            # Not cancelled unless it has to be: redis-py loses a cancellation that comes at the wrong moment.
            await asyncio.wait((self._beat,), timeout=_CLOSING_S if self.away_since is None else 0.0)
            self._beat.cancel()
            await asyncio.wait((self._beat,), timeout=_CLOSING_S)
        with contextlib.suppress(*_AWAY, TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                if self._epoch and self.away_since is None:
                    if self._sent is not None:
                        await self._exchange()
                    self._leases.return_all()
                    await self._exchange()
                    worker = self._identity.worker
                    if not self._leases.holds_money():  # else the counters go on knowing of it
                        await self._valkey.call(lambda client: client.zrem(WORKERS_KEY, worker))
        await self._tasks.drain(0.0)
