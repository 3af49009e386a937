"""The leases of one worker: what is to be said to Valkey in the next exchange, and what its answer changes."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from gateway.services.quota.ask import Amounts, Ask, Refusal
from gateway.services.quota.counter import MONEY, MOST, RATE, Counter, Kind, OnStoreFailure
from gateway.services.quota.exchange import Answer, Exchange, Opening, Row, counter_key
from gateway.services.quota.kept import KeptCounter
from gateway.services.quota.outage import LastWord, owe, spend_unasked

_SCAN_S: Final = 5.0


class _Heard(NamedTuple):
    """An answer, what it is the answer for, and what it is worth: `turned` and `past` as in `Ask.grant`; not `sound`:
    what this worker held may be somebody else's by now."""

    counters: list[Counter]
    answer: Answer
    turned: Set[Counter]
    past: Set[Counter]
    sound: bool
    now: float


class Leases:
    """`wake` is called where something is to be said soon; every `vouch_s` Valkey is told anew what money is held.
    Synchronous; `now` is always by `time.monotonic`."""

    def __init__(self, wake: Callable[[], None], vouch_s: float) -> None:
        self._wake = wake
        self._vouch_s = vouch_s
        self._vouch_at = 0.0
        self._counters: WeakValueDictionary[str, Counter] = WeakValueDictionary()
        self._leased: set[Counter] = set()
        self._to_give: set[Counter] = set()
        self._to_register: set[Counter] = set()
        self._settled: dict[Counter, tuple[int, int]] = {}
        self._to_open: dict[Counter, Opening] = {}
        self._scan_at = 0.0
        self._untold = False  # units were spent that Valkey was not asked for
        self.waiting: list[Ask] = []
        self.short_ms = "0"

    def __len__(self) -> int:
        return len(self._leased)

    def counter(self, name: str, kind: Kind, limit: int, window_s: int, on_store_failure: OnStoreFailure) -> Counter:
        """The one counter of that name, with this limit from now on."""
        limit = min(limit, MOST)
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = KeptCounter(name, kind, limit, window_s, on_store_failure)
        elif counter.limit != limit or counter.on_store_failure != on_store_failure:
            counter.limit, counter.on_store_failure, counter.refused_until = limit, on_store_failure, 0.0
            self._return(counter)  # what is leased was a share of another limit
        return counter

    def give_back(self, counter: Counter, amount: int) -> None:
        """Units that were taken here are free again."""
        counter.put_back(amount)
        if counter.tight:
            self._return(counter)

    def charge(self, counter: Counter, amount: int, now: float) -> None:
        """Units that were used without having been taken: of what is leased, and what that lacks is debt."""
        leased = 0 if counter.over(now) else max(0, min(counter.available, amount))
        counter.available -= leased
        debt = amount - leased
        if debt > 0:
            counter.holding += debt
            counter.unsent += debt
            self._leased.add(counter)
            self._to_give.add(counter)
            self._wake()

    def spend_unasked(self, amounts: Amounts, last: LastWord, now: float, *, share: bool) -> Counter | None:
        """Take units that Valkey cannot be asked for now; the counter that refuses, else None."""
        refuser = spend_unasked(amounts, last, now, share=share)
        if refuser is None:
            self._untold = True
            self._leased.update(counter for counter, _ in amounts)
        return refuser

    def drop(self, ask: Ask) -> None:
        """Nobody waits for this any more."""
        if ask in self.waiting:
            self.waiting.remove(ask)

    def settle(self, counter: Counter, amount: int, total: int) -> None:
        """`amount` is in the ledger, whose total is `total`."""
        before = self._settled.get(counter, (0, 0))
        self._settled[counter] = (before[0] + amount, max(before[1], total))
        self._wake()

    def open(self, counter: Counter, opening: Opening) -> None:
        """What a money counter that Valkey does not know is to begin with."""
        self._to_open[counter] = opening
        self._to_register.add(counter)
        self._wake()

    def _return(self, counter: Counter) -> None:
        counter.tight = True
        self._to_give.add(counter)
        self._wake()

    # --- what is to be said ---------------------------------------------------------------------

    def compose(self, now: float, last: LastWord) -> tuple[Exchange, list[Ask]]:
        """Everything that is to be said now, taken off the lists."""
        exchange = Exchange()
        if self._untold:
            self._untold = closed = now < last.closed_until
            owe(self._leased, now, closed=closed)
            self._to_give.update(counter for counter in self._leased if counter.unsent)
        for counter, opening in self._to_open.items():
            exchange.open(counter, opening)
        self._to_open.clear()
        for counter in self._to_register:
            if not counter.local and not counter.over(now):
                exchange.register(counter)
                counter.unsent = 0
        self._to_register.clear()
        for counter, (amount, total) in self._settled.items():
            counter.holding -= amount
            exchange.settle(counter, amount, total)
        self._settled.clear()
        for counter in self._to_give:  # before anybody gets more
            if counter.unsent:
                exchange.charge(counter, counter.unsent)
                counter.unsent = 0
        asks, self.waiting = self.waiting, []
        for ask in asks:
            short = ask.lend(now)
            for counter, amount in short:
                counter.expect(amount)
            exchange.ask(short)
        self._compose_returns(exchange, now)
        return exchange, asks

    def _compose_returns(self, exchange: Exchange, now: float) -> None:
        for counter in self._to_give:
            if counter.tight and counter.available > 0 and not counter.over(now):
                exchange.give_back(counter, counter.available)
                counter.holding -= counter.available
                counter.available = 0
        self._to_give.clear()

    def unsay(self, exchange: Exchange, asks: list[Ask]) -> None:
        """Valkey has lost all counters: what was said was not heard, and what it knew of this worker is to be said."""
        self._to_open.clear()  # whether it may be opened has to be looked at anew
        for counter, total in exchange.totals.items():
            self.settle(counter, 0, total)
        for counter, debt in exchange.debts.items():
            counter.unsent += debt
            self._to_give.add(counter)
        for ask in asks:
            ask.take_back()
        self.waiting[:0] = [ask for ask in asks if not ask.answer.done()]
        self._to_register.update(counter for counter in self._leased if counter.holding)
        self.short_ms = "0"

    def _disown(self) -> None:
        """What this worker has leased may be somebody else's by now; what is out is still to be counted."""
        lapsed = [counter for counter in self._leased if counter.kind != RATE]
        for counter in lapsed:
            counter.disown()
        if lapsed:
            self._to_register.update(lapsed)
            self._wake()

    def holds_money(self) -> bool:
        """Is anything under way, or spent and not in the ledger?"""
        return any(counter.kind == MONEY and counter.holding for counter in self._leased)

    def return_all(self) -> None:
        """Nothing more is going to be spent."""
        for counter in self._leased:
            self._return(counter)

    # --- what the answer changes ----------------------------------------------------------------

    def apply(self, exchange: Exchange, asks: list[Ask], answer: Answer, last: LastWord, now: float) -> list[Counter]:
        """Take over what Valkey said, and answer those who wait. Gives the counters that have to be opened."""
        counters = list(exchange.counters)
        rows = list(zip(counters, answer.rows, strict=True))
        turned, past = self._turn(rows, exchange.debts, last)
        sound = answer.status == "ok" and now < last.trusted_until
        heard = _Heard(counters, answer, turned, past, sound, now)
        short: set[Counter] = set()
        for ask, refuser in zip(asks, answer.refusers, strict=True):
            short |= ask.short_of()
            self._answer(ask, refuser, heard)
        for counter, row in rows:
            if counter in short and counter not in past:
                counter.grant(row.extra, now)
            if counter.holding:
                self._leased.add(counter)
            if counter.tight and counter.available > 0:
                self._return(counter)
        if not sound:
            self._disown()
        self._recall(answer)
        self._scan(now)
        missing = [counter for counter, row in rows if row.state == "missing"]
        self._to_register.update(counter for counter in missing if counter not in exchange.registered)
        return missing

    def _turn(
        self, rows: list[tuple[Counter, Row]], debts: dict[Counter, int], last: LastWord
    ) -> tuple[set[Counter], set[Counter]]:
        """Have rates enter their windows. Gives those whose lease is over, and those for which even this answer is."""
        turned: set[Counter] = set()
        past: set[Counter] = set()
        for counter, row in rows:
            counter.remaining = row.remaining
            if counter.kind != RATE:
                continue
            if row.window == counter.window:
                counter.until = last.end_of(counter, row.window)
                continue
            turned.add(counter)
            if counter.local and row.window < counter.window:  # the answer was long on its way
                past.add(counter)
            else:
                counter.enter(row.window, last.end_of(counter, row.window), counter.unsent)
                counter.holding += debts.get(counter, 0)
        return turned, past

    def _answer(self, ask: Ask, refuser: int, heard: _Heard) -> None:
        if not refuser:
            if ask.grant(heard.turned, heard.past, sound=heard.sound):
                ask.tell(None)
            elif not ask.answer.done():
                self.waiting.append(ask)
                self._wake()
            return
        amounts = dict(ask.amounts)
        ask.refuse(heard.turned)
        counter, state = heard.counters[refuser - 1], heard.answer.rows[refuser - 1].state
        if state == "missing":
            ask.opening = True
            if not ask.answer.done():
                self.waiting.append(ask)  # asked again when the counter is open; no wake: that will wake
        elif state == "rebuilding" or heard.answer.closed:
            ask.tell(Refusal(counter, "rebuilding", 1.0))
        else:
            counter.note_refusal(amounts[counter], heard.now)
            ask.tell(Refusal(counter, "limit", counter.retry_after_s(heard.now)))

    def _recall(self, answer: Answer) -> None:
        """Counters that ran short somewhere: what is idle here goes back."""
        if answer.short:
            self.short_ms = answer.short_ms
        for key in answer.short:
            counter = self._counters.get(key.split(":", 3)[3])
            if counter is not None and counter_key(answer.epoch, counter) == key:
                counter.tight = True
                if counter.available > 0:
                    self._return(counter)

    def _scan(self, now: float) -> None:
        """Tell anew what money is held, should a counter have been lost by itself. Give back leases that nobody has
        spent of since the last scan, and forget those that are over."""
        if now >= self._vouch_at:
            self._vouch_at = now + self._vouch_s
            self._to_register.update(counter for counter in self._leased if counter.kind == MONEY)
        if now < self._scan_at:
            return
        self._scan_at = now + _SCAN_S
        for counter in tuple(self._leased):
            if counter.over(now) or not (counter.holding or counter.available):
                self._leased.discard(counter)
            elif counter.available > 0 and counter.available == counter.idle_mark:
                self._return(counter)
            counter.idle_mark = counter.available
