"""The circuit breaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.health import CLOSED, HALF_OPEN, OPEN, Breaker, BreakerOptions
from tests.unit.upstream.fakes import Clock

OPTIONS = BreakerOptions(window_s=30, min_requests=10, error_rate=0.5, consecutive_failures=5, open_s=15)


def _breaker() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(OPTIONS, clock), clock


def _open() -> tuple[Breaker, Clock]:
    breaker, clock = _breaker()
    for _ in range(5):
        breaker.fail(breaker.allow())
    assert breaker.state == OPEN
    return breaker, clock


def test_failures_in_a_row_open_it_and_a_success_between_them_starts_anew() -> None:
    breaker, _ = _breaker()
    for _ in range(3):
        for _ in range(4):
            breaker.fail(breaker.allow())
        for _ in range(20):
            breaker.succeed(breaker.allow())
    for _ in range(4):
        breaker.fail(breaker.allow())
    assert breaker.state == CLOSED
    breaker.fail(breaker.allow())
    assert breaker.state == OPEN


def test_a_share_of_failures_opens_it_once_there_are_enough_requests() -> None:
    breaker, _ = _breaker()
    for number in range(9):
        (breaker.fail if number % 2 else breaker.succeed)(breaker.allow())
    assert breaker.state == CLOSED
    breaker.fail(breaker.allow())
    assert breaker.state == OPEN


def test_failures_older_than_the_window_count_no_more() -> None:
    breaker, clock = _breaker()
    for number in range(8):
        (breaker.fail if number % 2 else breaker.succeed)(breaker.allow())
    clock.now += 31
    for number in range(9):
        (breaker.fail if number % 3 == 0 else breaker.succeed)(breaker.allow())
    assert breaker.state == CLOSED


def test_open_it_refuses_until_its_time_has_passed_then_lets_one_through() -> None:
    breaker, clock = _open()
    assert breaker.allow() == 0
    assert breaker.retry_in_s() == 15
    clock.now += 14.9
    assert breaker.allow() == 0
    clock.now += 0.1
    assert not breaker.refuses()
    assert breaker.allow()
    assert breaker.state == HALF_OPEN
    assert breaker.refuses()
    assert breaker.allow() == 0


def test_the_probe_decides() -> None:
    breaker, clock = _open()
    clock.now += 15
    breaker.fail(breaker.allow())
    assert breaker.state == OPEN
    assert breaker.retry_in_s() == 15
    clock.now += 15
    breaker.succeed(breaker.allow())
    assert breaker.state == CLOSED
    assert breaker.allow()


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    breaker, clock = _open()
    clock.now += 15
    breaker.forget(breaker.allow())
    assert breaker.state == HALF_OPEN
    assert breaker.allow()


def test_requests_from_before_it_opened_decide_nothing() -> None:
    breaker, clock = _breaker()
    late = [breaker.allow() for _ in range(3)]
    for _ in range(5):
        breaker.fail(breaker.allow())
    breaker.succeed(late[0])
    assert breaker.state == OPEN
    clock.now += 10
    breaker.fail(late[1])
    assert breaker.retry_in_s() == 5
    clock.now += 5
    probe = breaker.allow()
    breaker.forget(late[2])
    assert breaker.allow() == 0
    breaker.succeed(probe)
    assert breaker.state == CLOSED


def test_a_streams_first_event_closes_it_and_its_later_failure_counts() -> None:
    breaker, clock = _open()
    clock.now += 15
    ticket = breaker.answering(breaker.allow())
    assert breaker.state == CLOSED
    breaker.fail(ticket)
    assert breaker.state == CLOSED
    for _ in range(4):
        breaker.fail(breaker.allow())
    assert breaker.state == OPEN


@given(
    st.lists(st.tuples(st.sampled_from(["allow", "succeed", "fail", "forget", "answering", "wait"]), st.integers(0, 9)))
)
def test_half_open_it_never_has_two_requests_and_always_has_a_place_once_they_ended(
    steps: list[tuple[str, int]],
) -> None:
    breaker, clock = _breaker()
    under_way: list[int] = []
    for what, which in steps:
        if what == "allow":
            if ticket := breaker.allow():
                under_way.append(ticket)
        elif what == "wait":
            clock.now += 4 * which
        elif under_way:
            ticket = under_way.pop(which % len(under_way))
            if what == "answering":
                under_way.append(breaker.answering(ticket))
            else:
                getattr(breaker, what)(ticket)
        if breaker.state == HALF_OPEN:
            assert under_way.count(breaker._generation) <= 1
    for ticket in under_way:
        breaker.forget(ticket)
    clock.now += 16
    assert breaker.allow()
