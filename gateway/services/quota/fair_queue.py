"""A bounded queue before a limit, shared fairly between teams.

Whose turn it is, is decided by deficit round-robin: M. Shreedhar and G. Varghese, "Efficient Fair Queuing Using Deficit
Round-Robin", IEEE/ACM Transactions on Networking 4(3), 1996. Teams that wait take turns in a ring. At its turn a team
may spend, beside what it had left, a quantum in proportion to its weight, on requests of so much cost; then the next
team follows. The quantum of the team with the least weight is the largest cost that waits, so that each turn serves at
least one request, and a choice costs O(1).

While two teams wait all the time, what each was served, divided by its weight, differs by at most the least quantum and
two requests (the paper's theorem), however much either sends. The oldest request of a team waits for one turn of each
other team at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Literal

# taken: the units are here. late: the deadline came first. full: there was no room, or the room went to a team that
# had less of it.
Outcome = Literal["taken", "late", "full"]
TryTake = Callable[[], Awaitable[bool]]

POLL_S: Final = 0.05


class Waiter:
    """A request that waits; `cost` in units of the limit."""

    __slots__ = ("cost", "displaced", "flow", "turn")

    def __init__(self, flow: Flow, cost: int) -> None:
        self.flow = flow
        self.cost = cost
        self.displaced = False
        self.turn: asyncio.Future[None] | None = None


class Flow:
    """The requests of one team that wait, oldest first. `deficit` is what it may spend yet at this turn."""

    __slots__ = ("at_its_turn", "deficit", "team", "waiters", "weight")

    def __init__(self, team: str, weight: float) -> None:
        self.team = team
        self.weight = weight
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.deficit = 0.0
        self.at_its_turn = False


class DeficitRounds:
    """The order of those who wait. Knows no time and no tasks."""

    def __init__(self) -> None:
        self._flows: dict[str, Flow] = {}
        self._ring: OrderedDict[Flow, None] = OrderedDict()
        self._weights: Counter[float] = Counter()
        self._least_weight = 1.0
        self._largest_cost = 1
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, team: str, weight: float, cost: int) -> Waiter:
        """Somebody more waits: behind the others of its team, which has this `weight` (> 0) from now on."""
        flow = self._flows.get(team)
        if flow is None:
            flow = self._flows[team] = Flow(team, weight)
            self._ring[flow] = None
            self._weigh(None, weight)
        elif flow.weight != weight:
            self._weigh(flow.weight, weight)
            flow.weight = weight
        waiter = Waiter(flow, max(cost, 1))
        flow.waiters[waiter] = None
        self._waiting += 1
        self._largest_cost = max(self._largest_cost, waiter.cost)
        return waiter

    def head(self) -> Waiter:
        """Whose turn it is. The same until it is served, or leaves. Raises IndexError where nobody waits."""
        if not self._waiting:
            raise IndexError("nobody waits")
        while True:
            flow = next(iter(self._ring))
            if not flow.at_its_turn:
                flow.at_its_turn = True
                flow.deficit += self.quantum(flow.weight)
            waiter = next(iter(flow.waiters))
            if waiter.cost <= flow.deficit:
                return waiter
            flow.at_its_turn = False
            self._ring.move_to_end(flow)

    def quantum(self, weight: float) -> float:
        """What a turn adds for a team of this weight."""
        return weight / self._least_weight * self._largest_cost

    def serve(self, waiter: Waiter) -> None:
        """The one whose turn it was has got its units, and leaves."""
        waiter.flow.deficit -= waiter.cost
        self.remove(waiter)

    def remove(self, waiter: Waiter) -> None:
        """It leaves; nothing where it has left. A team of which nobody waits any more keeps nothing for later."""
        flow = waiter.flow
        if waiter not in flow.waiters:
            return
        del flow.waiters[waiter]
        self._waiting -= 1
        if not flow.waiters:
            del self._flows[flow.team], self._ring[flow]
            self._weigh(flow.weight, None)
            if not self._flows:
                self._largest_cost = 1

    def who_gives_way(self, team: str, weight: float) -> Waiter | None:
        """Who leaves a full queue for one more of `team`: the newest of the team that has the most waiting for its
        weight, the one more counted in. None where that is `team` itself. Takes a look at each team that waits.
        """
        own = self._flows.get(team)
        most = (1 + (0 if own is None else len(own.waiters))) / weight
        longest: Flow | None = None
        for flow in self._flows.values():
            if flow is not own and len(flow.waiters) / flow.weight > most:
                most, longest = len(flow.waiters) / flow.weight, flow
        return None if longest is None else next(reversed(longest.waiters))

    def _weigh(self, before: float | None, after: float | None) -> None:
        if before is not None:
            self._weights[before] -= 1
            if not self._weights[before]:
                del self._weights[before]
        if after is not None:
            self._weights[after] += 1
        if self._weights:  # few: teams seldom have many different weights
            self._least_weight = min(self._weights)


class FairQueue:
    """Requests that wait for units of one limit, in one worker.

    `try_take` of whoever's turn it is, is tried when `ready` is called and every `poll_s` while anybody waits (units
    also come back elsewhere, and with a new window); one at a time, so nobody overtakes. It must wait for nothing but
    the counters, take nothing where it says False or is cancelled, and be for what can come: a request larger than the
    limit would hold up all until its deadline.
    """

    def __init__(self, max_waiting: int, *, poll_s: float = POLL_S) -> None:
        self._max_waiting = max_waiting
        self._poll_s = poll_s
        self._rounds = DeficitRounds()
        self._at_turn: Waiter | None = None
        self._ready_again = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._rounds)

    async def take(self, team: str, weight: float, cost: int, try_take: TryTake, deadline: float) -> Outcome:
        """Take units by `try_take`: at once where nobody waits, else in turn. `deadline` is by the loop's clock.

        What `try_take` raises is raised, and the next one's turn comes; the same when this is cancelled.
        """
        if not self._rounds and await try_take():
            return "taken"
        if len(self._rounds) >= self._max_waiting and not self._make_room(team, weight):
            return "full"
        waiter = self._rounds.add(team, weight, cost)
        self._poll_later()
        try:
            return await self._wait(waiter, try_take, deadline)
        finally:
            self._leave(waiter)

    def ready(self) -> None:
        """There may be units again: try whoever's turn it is."""
        if self._at_turn is not None:
            self._ready_again = True  # what is tried now may have been too early
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._rounds:
            waiter = self._at_turn = self._rounds.head()
            _wake(waiter)

    async def _wait(self, waiter: Waiter, try_take: TryTake, deadline: float) -> Outcome:
        loop = asyncio.get_running_loop()
        while True:
            if self._at_turn is not waiter and not waiter.displaced:
                waiter.turn = loop.create_future()
                try:
                    async with asyncio.timeout_at(deadline):
                        await waiter.turn
                except TimeoutError:
                    return "late"
            if waiter.displaced:
                return "full"
            if await try_take():
                self._rounds.serve(waiter)
                return "taken"
            if loop.time() >= deadline:
                return "late"
            self._at_turn = None
            if self._ready_again:
                self._ready_again = False
                self.ready()
            else:
                self._poll_later()

    def _leave(self, waiter: Waiter) -> None:
        """Whoever was at its turn gives it to the next: also one that was served, for there may be more."""
        self._rounds.remove(waiter)
        if self._at_turn is waiter:
            self._at_turn = None
            self._ready_again = False
            self.ready()

    def _make_room(self, team: str, weight: float) -> bool:
        waiter = self._rounds.who_gives_way(team, weight)
        if waiter is None or waiter is self._at_turn:
            return False
        waiter.displaced = True
        self._rounds.remove(waiter)
        _wake(waiter)
        return True

    def _poll_later(self) -> None:
        if self._timer is None and self._at_turn is None:
            self._timer = asyncio.get_running_loop().call_later(self._poll_s, self._poll)

    def _poll(self) -> None:
        self._timer = None
        self.ready()


def _wake(waiter: Waiter) -> None:
    if waiter.turn is not None and not waiter.turn.done():
        waiter.turn.set_result(None)
