"""Which key is used when, by a clock that stands still until it is moved."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.key_ring import FIRST_BENCH_S, LONGEST_BENCH_S, LONGEST_PAUSE_S, KeyRing, ProviderKey

NOW = 1000.0


def ring(*weights: float) -> KeyRing:
    return KeyRing("lab", [ProviderKey(f"key {n}", f"s3cret-{n}", weight=w) for n, w in enumerate(weights, 1)])


def picked(of: KeyRing, times: int, now: float = NOW) -> list[str]:
    found = [of.pick(now) for _ in range(times)]
    return [key.label if key else "none" for key in found]


def test_a_ring_of_one_gives_its_key() -> None:
    assert picked(ring(3), 3) == ["key 1"] * 3


def test_a_ring_needs_a_key_and_shows_no_secret() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        KeyRing("lab", [])
    assert "s3cret" not in repr(ring(1, 2).keys)


def test_keys_take_turns_by_weight_and_as_evenly_as_that_goes() -> None:
    assert picked(ring(5, 1, 1), 7) == ["key 1", "key 1", "key 2", "key 1", "key 3", "key 1", "key 1"]


@given(st.lists(st.floats(0.01, 1000), min_size=2, max_size=6))
def test_every_key_gets_its_share(weights: list[float]) -> None:
    found = Counter(picked(ring(*weights), 200))
    for number, weight in enumerate(weights, 1):
        share = 200 * weight / sum(weights)
        assert abs(found[f"key {number}"] - share) <= len(weights)


def test_a_refused_key_is_benched_for_longer_each_time_until_it_works() -> None:
    heard: list[tuple[str, str, str, float]] = []
    keys = [ProviderKey("a", "1"), ProviderKey("b", "2")]
    both = KeyRing("lab", keys, lambda provider, key, code, for_s: heard.append((provider, key.label, code, for_s)))
    now = NOW
    for expected_s in (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0):
        both.bench(keys[0], "upstream_auth", now)
        assert heard[-1] == ("lab", "a", "upstream_auth", expected_s)
        assert picked(both, 2, now + expected_s - 0.01) == ["b", "b"]
        now += expected_s
        assert "a" in picked(both, 2, now)
    both.succeed(keys[0], now)
    assert both.state(now)[0].code is None
    both.bench(keys[0], "upstream_quota", now)
    assert heard[-1] == ("lab", "a", "upstream_quota", FIRST_BENCH_S)


def test_refusals_that_were_under_way_count_once_and_late_successes_not_at_all() -> None:
    heard: list[float] = []
    both = KeyRing("lab", [ProviderKey("a", "1"), ProviderKey("b", "2")], lambda *told: heard.append(told[3]))
    key = both.keys[0]
    for _ in range(50):
        both.bench(key, "upstream_auth", NOW)
    both.succeed(key, NOW + 1)
    both.bench(key, "upstream_auth", NOW + FIRST_BENCH_S)
    assert heard == [FIRST_BENCH_S, 2 * FIRST_BENCH_S]


def test_a_slowed_key_waits_as_long_as_it_is_told_and_no_longer_than_an_hour() -> None:
    both = ring(1, 1)
    both.slow_down(both.keys[0], NOW + 30, NOW)
    both.slow_down(both.keys[0], NOW + 5, NOW)  # the longer one stands
    assert picked(both, 2, NOW + 29) == ["key 2"] * 2
    assert "key 1" in picked(both, 2, NOW + 30)
    both.slow_down(both.keys[0], NOW + 10**9, NOW)
    assert "key 1" in picked(both, 2, NOW + LONGEST_PAUSE_S)


def test_only_benched_keys_are_counted_and_only_until_they_are_tried_again() -> None:
    three = ring(1, 1, 1)
    assert three.benched(NOW) == 0
    three.slow_down(three.keys[0], NOW + 60, NOW)
    three.spare(three.keys[1], NOW + 60, NOW)
    assert three.benched(NOW) == 0
    three.bench(three.keys[2], "upstream_quota", NOW)
    assert three.benched(NOW) == 1
    assert three.benched(NOW + FIRST_BENCH_S) == 0


def test_a_slowed_key_is_still_benched_when_it_is_refused() -> None:
    both = ring(1, 1)
    both.slow_down(both.keys[0], NOW + 2, NOW)
    both.bench(both.keys[0], "upstream_auth", NOW)
    assert (both.state(NOW)[0].state, both.state(NOW)[0].for_s) == ("benched", FIRST_BENCH_S)


def test_a_spared_key_is_used_only_where_no_other_is_fit() -> None:
    three = ring(1, 1, 1)
    first, second, third = three.keys
    three.spare(first, NOW + 30, NOW)
    three.spare(second, NOW + 20, NOW)
    assert picked(three, 3) == ["key 3"] * 3
    three.slow_down(third, NOW + 10, NOW)
    assert picked(three, 3) == ["key 2"] * 3
    assert sorted(picked(three, 2, NOW + 20)) == ["key 2", "key 3"]
    alone = ring(1)
    alone.spare(alone.keys[0], NOW + 30, NOW)
    assert picked(alone, 1) == ["key 1"]


def test_with_no_key_left_the_ring_says_for_how_long() -> None:
    both = ring(1, 1)
    assert both.wait_s(NOW) == 0.0
    both.bench(both.keys[0], "upstream_auth", NOW)
    both.slow_down(both.keys[1], NOW + 3, NOW)
    assert both.pick(NOW) is None
    assert both.wait_s(NOW + 1) == 2.0
    assert picked(both, 1, NOW + 3) == ["key 2"]


def test_its_state_is_for_people() -> None:
    four = ring(1, 2, 3, 4)
    four.bench(four.keys[0], "upstream_quota", NOW)
    four.slow_down(four.keys[1], NOW + 4, NOW)
    four.spare(four.keys[2], NOW + 5, NOW)
    shown = [(state.label, state.weight, state.state, state.for_s, state.code) for state in four.state(NOW)]
    assert shown == [
        ("key 1", 1, "benched", 10.0, "upstream_quota"),
        ("key 2", 2, "slowed", 4.0, None),
        ("key 3", 3, "spared", 5.0, None),
        ("key 4", 4, "ok", 0.0, None),
    ]
    # It is back, but has not yet been seen to work.
    assert (four.state(NOW + 11)[0].state, four.state(NOW + 11)[0].code) == ("ok", "upstream_quota")
    four.restore(four.keys[0])
    assert four.state(NOW)[0].code is None
    assert "key 1" in picked(four, 5)


def test_a_reload_heals_nothing_and_blames_no_new_key() -> None:
    before = ring(1, 1)
    before.bench(before.keys[0], "upstream_auth", NOW)
    before.spare(before.keys[1], NOW + 7, NOW)
    keys = [ProviderKey("x", "s3cret-1"), ProviderKey("y", "new"), ProviderKey("z", "s3cret-2")]
    after = KeyRing("lab", keys)
    after.take_over(before)
    assert [state.state for state in after.state(NOW)] == ["benched", "ok", "spared"]
    assert picked(after, 2) == ["y", "y"]
    assert len(set(picked(after, 3, NOW + 10))) == 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bench", "slow", "spare", "succeed", "restore", "pick"]),
            st.integers(0, 2),
            st.floats(0, 5000),
        ),
        max_size=40,
    )
)
def test_whatever_happens_a_key_is_given_exactly_when_one_is_not_out(
    steps: list[tuple[str, int, float]],
) -> None:
    three, now = ring(1, 2, 3), NOW
    for what, number, seconds in steps:
        key = three.keys[number]
        if what == "bench":
            three.bench(key, "upstream_auth", now)
        elif what == "slow":
            three.slow_down(key, now + seconds, now)
        elif what == "spare":
            three.spare(key, now + seconds, now)
        elif what == "succeed":
            three.succeed(key, now)
        elif what == "restore":
            three.restore(key)
        else:
            now += seconds
        states = {state.label: state for state in three.state(now)}
        found = three.pick(now)
        usable = {label for label, state in states.items() if state.state in ("ok", "spared")}
        fit = {label for label, state in states.items() if state.state == "ok"}
        assert (found is None) == (not usable)
        assert found is None or found.label in (fit or usable)
        assert (three.wait_s(now) == 0.0) == bool(usable)
        assert all(0 <= state.for_s <= max(LONGEST_BENCH_S, LONGEST_PAUSE_S) for state in states.values())
