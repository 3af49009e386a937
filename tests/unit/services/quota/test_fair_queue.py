"""Deficit round-robin by itself, and the queue that waits in its order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.quota.fair_queue import DeficitRounds, FairQueue, Waiter

SOON_S = 10.0


# --- the order ------------------------------------------------------------------------------------


def served(rounds: DeficitRounds, count: int) -> list[tuple[str, int]]:
    """Serve so many; team and cost of each."""
    found = []
    for _ in range(count):
        waiter = rounds.head()
        assert rounds.head() is waiter, "whoever fails keeps its place"
        rounds.serve(waiter)
        found.append((waiter.flow.team, waiter.cost))
    return found


def test_a_team_that_sends_fifty_times_more_gets_its_share_and_no_more() -> None:
    rounds = DeficitRounds()
    for number in range(1000):
        rounds.add("loud", 1.0, 1)
        if number % 50 == 0:
            rounds.add("quiet", 1.0, 1)
    first = served(rounds, 40)
    assert [team for team, _ in first].count("quiet") == 20
    assert len(rounds) == 1000 + 20 - 40


def test_weights_of_one_and_three_give_one_and_three_also_with_requests_of_different_cost() -> None:
    rounds = DeficitRounds()
    costs = [1, 7, 100, 20]
    for number in range(2000):
        rounds.add("light", 0.5, costs[number % 4])
        rounds.add("heavy", 1.5, costs[(number + 1) % 4])
    units: dict[str, int] = defaultdict(int)
    for team, cost in served(rounds, 1600):
        units[team] += cost
        # The paper's bound, with weights as multiples of the least one: one quantum and two requests, each of 100.
        assert abs(units["light"] - units["heavy"] / 3) <= 300
    assert units["heavy"] > 30_000


def test_the_oldest_of_a_team_waits_for_one_turn_of_each_other_team_at_most() -> None:
    rounds = DeficitRounds()
    for _ in range(500):
        rounds.add("a", 4.0, 10)
        rounds.add("b", 2.0, 3)
    rounds.head()
    late = rounds.add("late", 1.0, 10)
    units: dict[str, int] = defaultdict(int)
    while (waiter := rounds.head()) is not late:
        units[waiter.flow.team] += waiter.cost
        rounds.serve(waiter)
    # One turn, and what a had left of the one that it was at already.
    assert units["a"] <= 2 * 4 * 10
    assert units["b"] <= 2 * 10 + 10


def test_a_team_of_which_nobody_waits_saves_nothing_up() -> None:
    rounds = DeficitRounds()
    for _ in range(50):
        rounds.add("now and then", 1.0, 1)
        served(rounds, 1)
    for _ in range(100):
        rounds.add("now and then", 1.0, 1)
        rounds.add("always", 1.0, 1)
    assert [team for team, _ in served(rounds, 40)].count("always") == 20


def test_one_large_request_does_not_make_the_turns_long_for_ever() -> None:
    rounds = DeficitRounds()
    rounds.add("a", 1.0, 1000)
    served(rounds, 1)
    for _ in range(100):
        rounds.add("a", 1.0, 1)
        rounds.add("b", 1.0, 1)
    assert [team for team, _ in served(rounds, 10)] == ["a", "b"] * 5


@dataclass
class Plain:
    """Deficit round-robin as the paper words it, in lists, with whole numbers."""

    ring: list[str] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    deficits: dict[str, float] = field(default_factory=dict)
    turn: str | None = None
    largest: int = 1

    def add(self, team: str, weight: int, number: int, cost: int) -> None:
        if not self.ring:
            self.largest = 1
        if team not in self.ring:
            self.ring.append(team)
            self.lines[team], self.deficits[team] = [], 0
        self.weights[team] = weight
        self.lines[team].append(number)
        self.largest = max(self.largest, cost)

    def head(self, costs: list[int]) -> int:
        while True:
            team = self.ring[0]
            if self.turn != team:
                self.turn = team
                least = min(self.weights[other] for other in self.ring)
                self.deficits[team] += self.weights[team] / least * self.largest
            if costs[self.lines[team][0]] <= self.deficits[team]:
                return self.lines[team][0]
            self.turn = None
            self.ring.append(self.ring.pop(0))

    def leave(self, number: int, spent: int) -> None:
        team = next(name for name in self.ring if number in self.lines[name])
        self.lines[team].remove(number)
        self.deficits[team] -= spent
        if not self.lines[team]:
            self.ring.remove(team)
            self.turn = None if self.turn == team else self.turn


_STEP = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abc"), st.sampled_from([1, 2, 8]), st.integers(1, 20)),
    st.tuples(st.just("serve")),
    st.tuples(st.just("leave"), st.integers(0, 1000)),
)


@given(st.lists(_STEP, max_size=120))
def test_the_order_is_the_papers_whoever_comes_and_goes(steps: list[tuple[Any, ...]]) -> None:
    rounds, plain = DeficitRounds(), Plain()
    waiters: list[Waiter] = []
    costs: list[int] = []
    waiting: list[int] = []
    for step in steps:
        if step[0] == "add":
            waiters.append(rounds.add(step[1], float(step[2]), step[3]))
            plain.add(step[1], step[2], len(costs), step[3])
            waiting.append(len(costs))
            costs.append(step[3])
        elif waiting and step[0] == "serve":
            number = plain.head(costs)
            assert rounds.head() is waiters[number]
            rounds.serve(waiters[number])
            plain.leave(number, costs[number])
            waiting.remove(number)
        elif waiting and step[0] == "leave":
            number = waiting.pop(step[1] % len(waiting))
            rounds.remove(waiters[number])
            rounds.remove(waiters[number])
            plain.leave(number, 0)
        assert len(rounds) == len(waiting)
    while waiting:  # all that wait are served, each once
        waiter = rounds.head()
        waiting.remove(waiters.index(waiter))
        rounds.serve(waiter)
    with pytest.raises(IndexError):
        rounds.head()


# --- the queue ------------------------------------------------------------------------------------


class Limit:
    """Units that come when the test says so. `order` is who got some."""

    def __init__(self, free: int = 0) -> None:
        self.free = free
        self.order: list[str] = []
        self.tries = 0

    def taking(self, team: str, cost: int = 1) -> Callable[[], Coroutine[Any, Any, bool]]:
        async def try_take() -> bool:
            self.tries += 1
            await asyncio.sleep(0)
            if self.free < cost:
                return False
            self.free -= cost
            self.order.append(team)
            return True

        return try_take


class Scene:
    """A queue before a limit, and those who wait in it."""

    def __init__(self, max_waiting: int = 1000, *, poll_s: float = 60.0) -> None:
        self.queue = FairQueue(max_waiting, poll_s=poll_s)
        self.limit = Limit()
        self.tasks: list[asyncio.Task[str]] = []

    def ask(self, team: str, weight: float = 1.0, cost: int = 1, within_s: float = SOON_S) -> asyncio.Task[str]:
        deadline = asyncio.get_running_loop().time() + within_s
        task: asyncio.Task[str] = asyncio.create_task(
            self.queue.take(team, weight, cost, self.limit.taking(team, cost), deadline)
        )
        self.tasks.append(task)
        return task

    async def give(self, units: int) -> None:
        self.limit.free += units
        self.queue.ready()
        await settled()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert len(self.queue) == 0


async def settled() -> None:
    """Let all tasks go on that can."""
    for _ in range(500):
        await asyncio.sleep(0)


async def test_units_that_are_there_are_taken_at_once() -> None:
    scene = Scene()
    scene.limit.free = 1
    assert await scene.ask("a") == "taken"
    assert scene.limit.tries == 1


async def test_a_flood_of_one_team_leaves_another_its_share() -> None:
    scene = Scene()
    for _ in range(100):
        scene.ask("loud")
    await settled()
    quiet = [scene.ask("quiet"), scene.ask("quiet")]
    await settled()
    await scene.give(4)
    assert [task.result() for task in quiet] == ["taken", "taken"]
    assert sorted(scene.limit.order) == ["loud", "loud", "quiet", "quiet"]
    await scene.end()


async def test_units_go_by_weight_while_both_wait() -> None:
    scene = Scene()
    for _ in range(60):
        scene.ask("light", 1.0)
        scene.ask("heavy", 3.0)
    await settled()
    for _ in range(20):
        await scene.give(2)
    assert scene.limit.order.count("heavy") == 30
    assert scene.limit.order.count("light") == 10
    await scene.end()


async def test_nobody_overtakes_a_request_that_does_not_fit_yet() -> None:
    scene = Scene()
    large = scene.ask("large", cost=10)
    await settled()
    small = scene.ask("small", cost=1)
    await scene.give(9)
    assert not large.done()
    assert not small.done()
    await scene.give(1)
    assert await large == "taken"
    await scene.give(1)
    assert await small == "taken"
    assert scene.limit.order == ["large", "small"]


async def test_units_that_come_back_elsewhere_are_found_without_a_word_and_without_a_busy_loop() -> None:
    scene = Scene(poll_s=0.02)
    waiting = scene.ask("a")
    await asyncio.sleep(0.3)
    assert 2 <= scene.limit.tries <= 17
    scene.limit.free = 1
    assert await asyncio.wait_for(waiting, SOON_S) == "taken"
    tries = scene.limit.tries
    await asyncio.sleep(0.1)
    assert scene.limit.tries == tries, "nobody waits, so nobody asks"


async def test_a_word_that_comes_during_a_try_is_heard_after_it() -> None:
    scene = Scene()
    waiting = scene.ask("a")
    await settled()
    scene.queue.ready()
    await asyncio.sleep(0)  # the try is under way, and will find nothing
    assert scene.limit.tries == 2
    scene.limit.free = 0
    scene.queue.ready()
    await asyncio.sleep(0)
    scene.limit.free = 1
    await settled()
    assert waiting.done()
    assert waiting.result() == "taken"


async def test_whose_time_is_up_is_told_so_and_holds_up_nobody() -> None:
    scene = Scene()
    late = scene.ask("a", cost=5, within_s=0.05)
    await settled()
    patient = scene.ask("a", cost=1)
    assert await late == "late"
    await scene.give(1)
    assert await patient == "taken"
    assert len(scene.queue) == 0


async def test_constant_news_does_not_keep_a_request_beyond_its_time() -> None:
    scene = Scene()
    late = scene.ask("a", within_s=0.05)
    async with asyncio.timeout(SOON_S):
        while not late.done():
            scene.queue.ready()
            await asyncio.sleep(0)
    assert late.result() == "late"


@pytest.mark.parametrize("during_its_turn", [False, True])
async def test_a_client_that_goes_away_leaves_no_hole(during_its_turn: bool) -> None:
    scene = Scene()
    gone = scene.ask("a")
    await settled()
    others = [scene.ask("a"), scene.ask("b")]
    await settled()
    if during_its_turn:
        scene.limit.free = 2
        scene.queue.ready()
        await asyncio.sleep(0)
    gone.cancel()
    await settled()
    assert gone.cancelled()
    if not during_its_turn:
        await scene.give(2)
    assert [task.result() for task in others] == ["taken", "taken"]
    assert (scene.limit.free, len(scene.queue)) == (0, 0)


async def test_what_a_try_raises_is_raised_and_the_next_one_has_its_turn() -> None:
    scene = Scene()
    failing = False

    async def try_take() -> bool:
        if failing:
            raise RuntimeError("broken")
        return False

    loop = asyncio.get_running_loop()
    broken = asyncio.create_task(scene.queue.take("a", 1.0, 1, try_take, loop.time() + SOON_S))
    await settled()
    fine = scene.ask("b")
    await settled()
    failing = True
    await scene.give(1)
    with pytest.raises(RuntimeError, match="broken"):
        await broken
    assert await fine == "taken"


async def test_a_full_queue_refuses_the_team_that_fills_it() -> None:
    scene = Scene(max_waiting=10)
    for _ in range(10):
        scene.ask("loud")
    await settled()
    assert await scene.ask("loud") == "full"
    assert len(scene.queue) == 10
    await scene.end()


async def test_in_a_full_queue_the_newest_of_the_longest_line_for_its_weight_gives_way() -> None:
    scene = Scene(max_waiting=10)
    loud = [scene.ask("loud", 1.0) for _ in range(4)]
    heavy = [scene.ask("heavy", 8.0) for _ in range(6)]
    await settled()
    quiet = scene.ask("quiet", 1.0)
    await settled()
    assert loud[3].done()
    assert loud[3].result() == "full"
    assert not quiet.done()
    assert not any(task.done() for task in (*heavy, *loud[:3]))
    await scene.give(10)
    assert quiet.result() == "taken"
    assert all(task.result() == "taken" for task in (*heavy, *loud[:3]))
    await scene.end()


async def test_a_queue_with_no_room_at_all_still_lets_through_what_there_is() -> None:
    scene = Scene(max_waiting=0)
    assert await scene.ask("a") == "full"
    scene.limit.free = 1
    assert await scene.ask("a") == "taken"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=30), st.integers(1, 12))
def test_every_request_has_one_end_and_every_unit_one_owner(
    requests: list[tuple[str, int, bool]], max_waiting: int
) -> None:
    async def run() -> None:
        scene = Scene(max_waiting)
        tasks = []
        for number, (team, cost, leaves) in enumerate(requests):
            task = scene.ask(team, 1.0 + cost, cost)
            await asyncio.sleep(0)
            if leaves and number % 2:
                scene.tasks[number // 2].cancel()
            if number % 3 == 0:
                scene.limit.free += 2
                scene.queue.ready()
            tasks.append((task, cost))
        given_units = 2 * len(range(0, len(requests), 3)) + 200
        await scene.give(200)
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(*scene.tasks, return_exceptions=True)
        ends = ["cancelled" if task.cancelled() else task.result() for task, _ in tasks]
        assert set(ends) <= {"taken", "full", "cancelled"}
        taken = sum(cost for (_, cost), end in zip(tasks, ends, strict=True) if end == "taken")
        assert scene.limit.free == given_units - taken
        assert len(scene.queue) == 0

    asyncio.run(run())
