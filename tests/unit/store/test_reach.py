"""The breaker for those who have a client waiting."""

from __future__ import annotations

from gateway.store.reach import Reach


def test_after_a_failure_one_call_a_second_tries_until_one_is_answered() -> None:
    now = [100.0]
    reach = Reach(lambda: now[0])
    assert reach.allow()
    reach.fail()
    assert reach.away_since == 100.0
    assert [reach.allow() for _ in range(3)] == [False] * 3
    assert reach.refused == 3
    now[0] = 101.0
    assert [reach.allow() for _ in range(3)] == [True, False, False]
    now[0] = 101.5
    reach.fail()
    now[0] = 102.0
    assert not reach.allow()
    assert reach.away_since == 100.0
    reach.answer()
    assert [reach.allow() for _ in range(3)] == [True] * 3
    assert reach.away_since is None
