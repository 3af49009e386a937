"""What a worker says to Valkey in one exchange, and what it hears: the arguments and the answer of exchange.lua."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from gateway.services.quota.counter import RATE, Counter

# One hash tag for all keys: a cluster keeps them in one slot, so that a script may see them together.
TAG: Final = "{kubechat}:"
EPOCH_KEY: Final = f"{TAG}epoch"
WORKERS_KEY: Final = f"{TAG}workers"
SHORT_KEY: Final = f"{TAG}short"


def counter_key(epoch: str, counter: Counter) -> str:
    """Where a counter stands in Valkey in this epoch."""
    return f"{TAG}{epoch}:{counter.kind}:{counter.name}"


def last_key(epoch: str, worker: str) -> str:
    """Where a worker's last exchange is kept, with its answer."""
    return f"{TAG}{epoch}:last:{worker}"


def money_key(epoch: str, worker: str) -> str:
    """The set of money counters that `worker` holds a lease of."""
    return f"{TAG}{epoch}:money:{worker}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the worker's id, and after how many milliseconds of silence it loses units, or counts as gone."""

    worker: str
    lapse_ms: int
    gone_ms: int


class Opening(NamedTuple):
    """What a money counter opens with: what the ledger has, and for how many milliseconds nobody may spend of it."""

    settled: int
    wait_ms: int


class Exchange:
    """Collects what is to be said. `totals` are the ledger's, of the counters that were settled; `debts` what is
    charged; `registered` those counters of which it is said what is held."""

    def __init__(self) -> None:
        self.counters: dict[Counter, int] = {}
        self._operations: list[str] = []
        self.totals: dict[Counter, int] = {}
        self.debts: dict[Counter, int] = {}
        self.registered: set[Counter] = set()

    def _number(self, counter: Counter) -> str:
        number = self.counters.get(counter)
        if number is None:
            number = self.counters[counter] = len(self.counters) + 1
        return str(number)

    def give_back(self, counter: Counter, amount: int) -> None:
        """Units that are not needed."""
        self._operations += ("G", self._number(counter), str(counter.window), str(amount))

    def charge(self, counter: Counter, amount: int) -> None:
        """Units that were spent beyond any lease: they count, whatever the limit, in the window that it is now."""
        self._operations += ("C", self._number(counter), "0", str(amount))
        self.debts[counter] = amount

    def register(self, counter: Counter) -> None:
        """What the worker holds of a counter that may not know it any more; a rate's counts if its window lasts."""
        self.registered.add(counter)
        if counter.kind == RATE:
            self._operations += ("C", self._number(counter), str(counter.window), str(counter.holding))
        else:
            self._operations += ("R", self._number(counter), str(counter.holding))

    def settle(self, counter: Counter, amount: int, total: int) -> None:
        """`amount` of this worker's lease is in the ledger, whose total is `total` now."""
        self._operations += ("S", self._number(counter), str(amount), str(total))
        self.totals[counter] = total

    def open(self, counter: Counter, opening: Opening) -> None:
        """A money counter that Valkey does not know."""
        self._operations += ("O", self._number(counter), str(opening.settled), str(opening.wait_ms))

    def ask(self, amounts: Sequence[tuple[Counter, int]]) -> None:
        """Units of several counters: all of them or none."""
        self._operations += ("A", str(len(amounts)))
        for counter, amount in amounts:
            self._operations += (self._number(counter), str(amount))

    def keys(self, identity: Identity, epoch: str) -> list[str]:
        """KEYS of the script."""
        last = last_key(epoch, identity.worker)
        own = money_key(epoch, identity.worker)
        return [EPOCH_KEY, WORKERS_KEY, SHORT_KEY, last, own, *(counter_key(epoch, each) for each in self.counters)]

    def arguments(self, identity: Identity, epoch: str, sequence: int, shortage_ms: str) -> list[str]:
        """ARGV of the script."""
        head = (identity.worker, str(sequence), epoch, str(identity.lapse_ms), str(identity.gone_ms), shortage_ms)
        written = [*head, str(len(self.counters))]
        for counter in self.counters:
            written += (counter.kind, str(counter.limit), str(max(counter.window_s, 1)), str(counter.share))
        return written + self._operations


@dataclass(frozen=True, slots=True)
class Row:
    """What the answer says of one counter; `state` is ok, missing or rebuilding."""

    extra: int
    remaining: int
    window: int
    state: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is ok, lapsed (this worker's units may be gone) or epoch (`epoch` is another, or empty for none).

    `now_us` is Valkey's clock; `refusers` has for each ask 0 or the number of the counter that refused it; `short` has
    the keys of counters that ran short, and `short_ms` is when the last of them did.
    """

    status: str
    epoch: str
    now_us: int
    alive: int
    opens_ms: int
    rows: Sequence[Row]
    refusers: Sequence[int]
    short: Sequence[str]
    short_ms: str

    @property
    def closed(self) -> bool:
        """All counters of the epoch are closed, until those who hold units have said so."""
        return self.now_us < self.opens_ms * 1000


def read_answer(raw: bytes) -> Answer:
    """The script's JSON, in which an empty list is written as `{}`."""
    status, epoch, now_us, alive, opens_ms, rows, refusers, short = orjson.loads(raw)
    return Answer(
        status=status,
        epoch=epoch,
        now_us=int(now_us),
        alive=int(alive),
        opens_ms=int(opens_ms),
        rows=[Row(int(extra), int(remaining), int(window), state) for extra, remaining, window, state in rows],
        refusers=[int(number) for number in refusers],
        short=list(short)[0::2],
        short_ms=max(list(short)[1::2], key=float, default=""),
    )
