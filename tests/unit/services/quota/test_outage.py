"""What may be spent while Valkey is away, and what it is told afterwards."""

import pytest

from gateway.services.quota.counter import Counter, OnStoreFailure
from gateway.services.quota.outage import LastWord, owe, spend_unasked, waits_for_share
from tests.unit.services.quota.counters import NOW, NOW_US, UNTIL, WINDOW, answer, closed, heard, held, money, rate


def spend(counter: Counter, now: float, last: LastWord, *, share: bool = True) -> int:
    """How many single units are given."""
    given = 0
    while given < 1000 and spend_unasked([(counter, 1)], last, now, share=share) is None:
        given += 1
    return given


def told(counter: Counter, now: float = UNTIL + 1, *, before_opening: bool = False) -> int:
    """What Valkey is told of in the next exchange."""
    owe([counter], now, closed=before_opening)
    debt, counter.unsent = counter.unsent, 0
    return debt


@pytest.mark.parametrize(("failure", "leased", "later"), [("deny", 5, 0), ("local", 5, 15), ("allow", 1000, 1000)])
def test_a_rate_goes_on_with_its_lease_and_then_as_it_is_configured(
    failure: OnStoreFailure, leased: int, later: int
) -> None:
    counter = rate(60, failure, leased=5)
    counter.remaining = 0
    assert spend(counter, NOW, heard(alive=4)) == leased
    assert spend(counter, UNTIL + 1, heard(alive=4)) == later


def test_in_the_window_under_way_a_rate_goes_on_with_its_part_of_what_was_left() -> None:
    counter = rate(60, leased=5)
    counter.remaining = 9
    assert spend(counter, NOW, heard(alive=4), share=False) == 5
    assert spend(counter, NOW, heard(alive=4)) == 2
    assert spend(counter, NOW, heard(alive=4)) == 0
    assert told(counter, NOW) == 2
    assert (counter.available, counter.holding) == (0, 7)
    assert spend(rate(60, "deny", leased=5), NOW, heard(alive=4)) == 5
    assert spend(rate(60, leased=5), NOW, LastWord(NOW_US, NOW)) == 5


def test_one_that_denies_spends_no_lease_that_may_be_void() -> None:
    counter = rate(60, "deny", leased=5)
    assert spend(counter, NOW + 4, heard()) == 0


def test_each_window_of_an_outage_has_its_part_of_the_limit() -> None:
    counter = rate(60)
    assert spend(counter, UNTIL + 1, heard()) == 15
    assert spend(counter, UNTIL + 59, heard()) == 0
    assert spend(counter, UNTIL + 61, heard()) == 15


def test_a_worker_that_never_heard_of_valkey_has_no_part() -> None:
    assert spend(rate(60), UNTIL + 1, LastWord()) == 0
    assert spend(held(8), NOW, LastWord()) == 0
    assert spend(rate(60, "allow"), UNTIL + 1, LastWord()) == 1000


def test_an_answer_that_is_only_late_makes_no_part_of_the_limit() -> None:
    assert spend(rate(60), UNTIL + 1, heard(), share=False) == 0
    assert spend(held(8), NOW + 9, heard(), share=False) == 0
    assert spend(rate(60, leased=3), NOW, heard(), share=False) == 3


@pytest.mark.parametrize("when", [NOW, NOW + 4])
def test_units_at_once_are_the_lease_and_a_part_where_that_is_less(when: float) -> None:
    counter = held(8, leased=3)
    assert spend(counter, NOW, heard(alive=2), share=False) == 3
    assert spend(counter, when, heard(alive=2)) == 1
    assert counter.out == 4
    assert spend(held(8, leased=5), when, heard(alive=2)) == 5
    denying = held(8, "deny", leased=3)
    assert spend(denying, NOW, heard(alive=2)) == 3
    assert spend(denying, NOW + 4, heard(alive=2)) == 0


def test_a_request_waits_for_its_part_where_nothing_else_is_in_the_way() -> None:
    def waits(*counters: Counter, now: float = NOW) -> bool:
        return waits_for_share([(counter, 1) for counter in counters], heard(), now)

    assert waits(held(8))
    assert waits(rate(60), held(8, "allow"))
    assert waits(rate(60), now=UNTIL + 1)
    assert not waits(rate(60, leased=1), held(8, leased=1))  # it can go on now
    assert not waits(held(8), rate(60, "deny"))
    assert not waits(held(8), money())
    assert not waits(held(8, "allow"))


def test_money_is_spent_from_a_trusted_lease_alone() -> None:
    assert spend(money(leased=3), NOW, heard()) == 3
    assert spend(money(leased=3), NOW + 4, heard()) == 0


def test_nothing_is_spent_of_any_where_one_refuses() -> None:
    first, second = rate(leased=5), held(failure="deny")
    assert spend_unasked([(first, 1), (second, 1)], heard(), NOW, share=True) is second
    assert first.available == 5


def test_what_was_spent_of_a_part_is_told_once() -> None:
    counter = rate(60)
    spend_unasked([(counter, 4)], heard(), UNTIL + 1, share=True)
    assert told(counter) == 4
    assert (counter.available, counter.holding, counter.local) == (0, 4, False)
    assert told(counter) == 0


def test_before_the_counters_open_a_part_is_told_bit_by_bit_and_goes_on() -> None:
    counter = rate(60)
    spend_unasked([(counter, 4)], heard(), UNTIL + 1, share=True)
    assert told(counter, before_opening=True) == 4
    spend_unasked([(counter, 2)], heard(), UNTIL + 1, share=True)
    assert counter.available == 9
    assert told(counter) == 2


def test_what_was_spent_in_a_window_that_is_over_is_not_charged_to_another() -> None:
    counter = rate(60, "allow")
    spend_unasked([(counter, 500)], heard(), UNTIL + 1, share=True)
    assert told(counter, UNTIL + 61) == 0


def test_what_was_allowed_beyond_the_lease_is_charged() -> None:
    counter = rate(60, "allow", leased=5)
    spend_unasked([(counter, 8)], heard(), NOW, share=True)
    assert told(counter, NOW) == 3
    assert (counter.available, counter.holding) == (0, 8)


def test_units_at_once_that_were_taken_unasked_are_told_and_idle_leases_kept() -> None:
    counter, idle = held(8, "allow", leased=1), held(8, leased=3)
    spend_unasked([(counter, 4)], heard(), NOW, share=True)
    assert told(counter, NOW) == 3
    assert told(idle, NOW) == 0
    assert idle.available == 3


def test_an_exchange_that_was_repeated_ends_its_window_no_later_than_valkey_does() -> None:
    last, counter = LastWord(), rate()
    last.hear(answer([]), NOW - 2, 4.0)  # first sent 2 s ago; nobody knows when it was heard
    assert last.end_of(counter, WINDOW) == UNTIL - 2
    assert last.trusted_until == NOW + 2


def test_while_counters_are_closed_those_who_were_alive_still_count() -> None:
    last = heard(alive=7)
    last.hear(closed(answer([])), NOW, 4.0)
    assert (last.alive, last.now_us) == (7, NOW_US)
    assert NOW < last.closed_until < NOW + 0.01
    last.hear(answer([]), NOW, 4.0)
    assert last.alive == 4
