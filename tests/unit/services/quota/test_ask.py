"""What is lent, given and put back for one request."""

from gateway.services.quota.ask import refused_lately
from tests.unit.services.quota.counters import NOW, UNTIL, WINDOW, ask, held, money, rate


async def test_what_is_leased_is_lent_and_the_rest_is_asked_for() -> None:
    leased, bare = rate(leased=5), held()
    waiting = ask((leased, 8), (bare, 1))
    assert waiting.lend(NOW) == [(leased, 3), (bare, 1)]
    assert (leased.available, leased.holding) == (0, 5)
    waiting.take_back()
    assert leased.available == 5


async def test_nothing_is_lent_of_a_window_that_is_over() -> None:
    counter = rate(leased=5)
    assert ask((counter, 3)).lend(UNTIL) == [(counter, 3)]


async def test_what_is_given_is_out() -> None:
    counter = rate(leased=5)
    waiting = ask((counter, 8))
    waiting.lend(NOW)
    assert waiting.grant(set(), set(), sound=True)
    assert (counter.available, counter.holding, counter.out) == (0, 8, 8)


async def test_who_left_in_the_meantime_leaves_the_units_to_others() -> None:
    counter = rate(leased=5)
    waiting = ask((counter, 8))
    waiting.lend(NOW)
    waiting.answer.cancel()
    assert not waiting.grant(set(), set(), sound=True)
    assert (counter.available, counter.holding) == (8, 8)


async def test_what_was_lent_of_an_ended_window_has_to_be_asked_for_again() -> None:
    counter, other = rate(leased=5), held(leased=2)
    waiting = ask((counter, 8), (other, 1))
    waiting.lend(NOW)
    counter.enter(WINDOW + 1, UNTIL + 60)
    assert not waiting.grant({counter}, set(), sound=True)
    assert (counter.available, counter.holding) == (3, 3)
    assert (other.available, other.holding) == (2, 2)


async def test_what_was_given_of_a_window_that_is_over_by_now_is_worth_nothing() -> None:
    counter = rate(leased=5)
    waiting = ask((counter, 8))
    waiting.lend(NOW)
    counter.enter(WINDOW + 1, UNTIL + 60)
    assert not waiting.grant({counter}, {counter}, sound=True)
    assert (counter.available, counter.holding) == (0, 0)


async def test_a_refusal_puts_back_what_was_lent_unless_its_window_is_over() -> None:
    counter, other = rate(leased=5), money(leased=100)
    waiting = ask((counter, 8), (other, 60))
    waiting.lend(NOW)
    counter.enter(WINDOW + 1, UNTIL + 60)
    waiting.refuse({counter})
    assert (counter.available, other.available) == (0, 100)


def test_as_much_as_was_refused_a_moment_ago_is_refused_again_and_less_is_not() -> None:
    counter = rate()
    counter.note_refusal(10, NOW)
    for amount, refused in ((10, True), (11, True), (9, False)):
        assert (refused_lately([(counter, amount)], NOW + 0.02) is not None) == refused
    assert refused_lately([(counter, 10)], NOW + 0.026) is None


def test_units_that_came_back_end_the_refusals() -> None:
    counter = money()
    counter.note_refusal(10, NOW)
    counter.put_back(0)
    assert refused_lately([(counter, 10)], NOW) is not None
    counter.put_back(1)
    assert refused_lately([(counter, 10)], NOW) is None


def test_refusals_end_with_the_window_and_are_not_kept_for_units_at_once() -> None:
    counter, at_once = rate(), held()
    counter.note_refusal(1, UNTIL - 0.01)
    at_once.note_refusal(1, NOW)
    assert refused_lately([(counter, 1)], UNTIL - 0.001) is not None
    assert refused_lately([(counter, 1)], UNTIL) is None
    assert refused_lately([(at_once, 1)], NOW) is None
