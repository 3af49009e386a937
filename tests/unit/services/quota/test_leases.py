"""What one worker says, and what the answers change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.services.quota.ask import Ask, Refusal
from gateway.services.quota.counter import HELD, MONEY, RATE, Counter
from gateway.services.quota.exchange import Answer, Exchange, Identity, Opening
from gateway.services.quota.leases import Leases
from gateway.services.quota.outage import LastWord
from tests.unit.services.quota.counters import NOW, UNTIL, WINDOW, answer, ask, closed, heard, row


class Worker:
    """Leases and what they have said; `woken` counts."""

    def __init__(self) -> None:
        self.woken = 0
        self.leases = Leases(self._wake, 2.0)
        self.rate = self.leases.counter("rate", RATE, 60, 60, "local")
        self.held = self.leases.counter("held", HELD, 8, 0, "local")
        self.money = self.leases.counter("money", MONEY, 1000, 0, "deny")
        self.rate.enter(WINDOW, UNTIL)
        self.sent: tuple[Exchange, list[Ask]] = Exchange(), []
        self.compose()
        self.hear(answer([]))  # the first look at what is idle

    def _wake(self) -> None:
        self.woken += 1

    def compose(self, now: float = NOW) -> str:
        self.sent = exchange, _ = self.leases.compose(now, heard())
        return " ".join(exchange.arguments(Identity("w", 1, 1), "e", 1, "0")[7 + 4 * len(exchange.counters) :])

    def hear(self, given: Answer, last: LastWord | None = None, now: float = NOW) -> list[Counter]:
        return self.leases.apply(*self.sent, given, last or heard(), now)

    def lease(self, counter: Counter, amount: int) -> None:
        """Have so many units leased."""
        self.leases.waiting.append(ask((counter, amount)))
        self.compose()
        self.hear(answer([row(extra=1, window=counter.window)], [0]))
        counter.holding = counter.available = amount

    def wait_for(self, *amounts: tuple[Counter, int]) -> Ask:
        waiting = ask(*amounts)
        self.leases.waiting.append(waiting)
        return waiting


def result(waiting: Ask) -> Refusal | None:
    return waiting.answer.result()


async def asked(worker: Worker, amounts: Sequence[tuple[Counter, int]], given: Answer) -> Ask:
    waiting = worker.wait_for(*amounts)
    worker.compose()
    worker.hear(given)
    return waiting


async def test_what_is_given_beyond_the_asks_is_leased_and_spent_next_time() -> None:
    worker = Worker()
    waiting = await asked(worker, [(worker.rate, 3)], answer([row(extra=10)], [0]))
    assert result(waiting) is None
    assert (worker.rate.available, worker.rate.holding, worker.rate.remaining) == (10, 13, 40)
    worker.wait_for((worker.rate, 4))
    assert worker.compose() == "A 1 1 0"


async def test_where_nothing_is_left_beyond_the_asks_nothing_is_kept() -> None:
    worker = Worker()
    await asked(worker, [(worker.held, 1)], answer([row(extra=0, window=0)], [0]))
    worker.leases.give_back(worker.held, 1)
    assert worker.compose() == "G 1 0 1"
    assert (worker.held.available, worker.held.holding) == (0, 0)


async def test_a_counter_that_was_not_short_keeps_its_lease_when_another_was() -> None:
    worker = Worker()
    worker.lease(worker.rate, 9)
    await asked(worker, [(worker.rate, 2), (worker.money, 5)], answer([row(), row(extra=50, window=0)], [0]))
    assert (worker.rate.available, worker.rate.tight) == (7, False)


async def test_a_refusal_names_the_counter_and_when_to_come_back() -> None:
    worker = Worker()
    waiting = await asked(worker, [(worker.money, 5), (worker.rate, 2)], answer([row(window=0), row()], [2]))
    assert result(waiting) == Refusal(worker.rate, "limit", UNTIL - NOW)
    assert worker.money.available == worker.money.holding == 0


async def test_counters_that_are_closed_refuse_as_such() -> None:
    worker = Worker()
    waiting = await asked(worker, [(worker.money, 5)], closed(answer([row(window=0)], [1])))
    assert result(waiting) == Refusal(worker.money, "rebuilding", 1.0)


async def test_who_asks_for_a_missing_counter_waits_until_it_is_opened() -> None:
    worker = Worker()
    waiting = worker.wait_for((worker.money, 5))
    worker.compose()
    assert worker.hear(answer([row(window=0, state="missing")], [1])) == [worker.money]
    assert waiting.opening
    assert not waiting.answer.done()
    worker.leases.open(worker.money, Opening(7, 0))
    assert worker.compose() == "O 1 7 0 R 1 0 A 1 1 5"


async def test_a_lease_ends_with_its_window_and_the_request_asks_again() -> None:
    worker = Worker()
    worker.lease(worker.rate, 9)
    waiting = await asked(worker, [(worker.rate, 12)], answer([row(window=WINDOW + 1)], [0]))
    assert not waiting.answer.done()
    assert (worker.rate.available, worker.rate.window, worker.rate.until) == (3, WINDOW + 1, UNTIL + 60)
    assert worker.compose() == "A 1 1 9"


async def test_a_lapsed_worker_has_nothing_but_what_is_out() -> None:
    worker = Worker()
    worker.lease(worker.held, 3)
    worker.held.available -= 1  # a request has it
    waiting = await asked(worker, [(worker.held, 1)], answer([row(window=0)], [0], "lapsed"))
    assert not waiting.answer.done()
    assert worker.compose() == "R 1 1 A 1 1 1"


async def test_an_answer_that_comes_after_the_lease_gives_nothing() -> None:
    worker = Worker()
    waiting = worker.wait_for((worker.money, 5))
    worker.compose()
    worker.hear(answer([row(window=0)], [0]), now=NOW + 4)
    assert not waiting.answer.done()
    assert worker.compose() == "R 1 0 A 1 1 5"


async def test_debt_counts_once_though_the_counters_were_lost_meanwhile() -> None:
    worker = Worker()
    worker.lease(worker.rate, 9)
    worker.leases.charge(worker.rate, 12, NOW)
    worker.leases.unsay(Exchange(), [])
    assert worker.compose() == f"C 1 {WINDOW} 12"
    assert worker.compose() == ""


async def test_debt_is_not_paid_from_a_lease_whose_window_is_over() -> None:
    worker = Worker()
    worker.lease(worker.rate, 9)
    worker.leases.charge(worker.rate, 5, UNTIL)
    assert worker.compose(UNTIL) == "C 1 0 5"


async def test_debt_made_while_an_answer_was_on_its_way_is_not_forgotten_at_the_windows_edge() -> None:
    worker = Worker()
    worker.wait_for((worker.rate, 1))
    worker.compose()
    worker.leases.charge(worker.rate, 5, NOW)
    worker.hear(answer([row(window=WINDOW + 1)], [0]))
    assert (worker.rate.holding, worker.rate.available) == (6, 0)
    assert worker.compose() == "C 1 0 5"


async def test_after_a_loss_everything_is_said_again() -> None:
    worker = Worker()
    worker.lease(worker.money, 100)
    worker.money.available -= 60
    worker.leases.settle(worker.money, 20, 120)
    waiting = worker.wait_for((worker.money, 50))
    assert worker.compose() == "S 1 20 120 A 1 1 10"
    exchange, asks = worker.sent
    worker.leases.unsay(exchange, asks)
    assert worker.compose() == "R 1 80 S 1 0 120 A 1 1 10"
    assert worker.sent[1] == [waiting]


async def test_the_local_part_of_a_later_window_outlives_an_answer_that_was_long_on_its_way() -> None:
    worker = Worker()
    worker.wait_for((worker.rate, 1))
    worker.compose()
    worker.leases.spend_unasked([(worker.rate, 4)], heard(), UNTIL + 1, share=True)
    worker.hear(answer([row(extra=9)], [0]), heard(), UNTIL + 1)
    assert (worker.rate.local, worker.rate.available, worker.rate.out) == (True, 11, 4)
    assert worker.compose(UNTIL + 1).startswith("C 1 0 4")


async def test_a_shortage_elsewhere_calls_an_idle_lease_back() -> None:
    worker = Worker()
    worker.lease(worker.money, 100)
    worker.compose()
    given = answer([])
    worker.hear(replace(given, short=["{kubechat}:e:m:money"], short_ms="5"))
    assert worker.compose() == "G 1 0 100"
    assert worker.leases.short_ms == "5"


async def test_money_that_is_held_is_told_anew_every_so_often() -> None:
    worker = Worker()
    worker.lease(worker.money, 100)
    worker.compose()
    worker.hear(answer([]), now=NOW + 2.1)
    assert worker.compose() == "R 1 100"


async def test_a_new_limit_gives_back_what_was_leased_under_the_old_one() -> None:
    worker = Worker()
    worker.lease(worker.held, 4)
    assert worker.leases.counter("held", HELD, 5, 0, "local") is worker.held
    assert worker.compose() == "G 1 0 4"


async def test_limits_beyond_what_lua_can_count_are_taken_as_the_largest() -> None:
    assert Worker().leases.counter("large", MONEY, 2**60, 0, "deny").limit == 2**53 - 1


async def test_what_was_spent_in_an_outage_counts_once_though_the_counters_were_lost_in_it() -> None:
    worker = Worker()
    worker.lease(worker.rate, 9)
    worker.rate.on_store_failure = "allow"
    worker.leases.spend_unasked([(worker.rate, 20)], heard(), NOW, share=True)
    worker.leases.unsay(Exchange(), [])
    assert worker.compose() == f"C 1 {WINDOW} 20"
    assert worker.compose() == ""


async def test_a_missing_counter_is_told_once_what_is_held() -> None:
    worker = Worker()
    worker.lease(worker.money, 100)
    worker.leases.settle(worker.money, 20, 120)
    worker.compose()
    assert worker.hear(answer([row(window=0, state="missing")])) == [worker.money]
    assert worker.compose() == "R 1 80"
    assert worker.hear(answer([row(window=0, state="missing")])) == [worker.money]
    assert worker.compose() == ""
    worker.leases.open(worker.money, Opening(100, 0))
    assert worker.compose() == "O 1 100 0 R 1 80"


async def test_what_a_counter_opens_with_is_not_said_to_others_that_begin_anew() -> None:
    worker = Worker()
    worker.leases.open(worker.money, Opening(100, 0))
    worker.leases.unsay(Exchange(), [])
    assert "O" not in worker.compose()
