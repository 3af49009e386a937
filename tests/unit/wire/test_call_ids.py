"""Ids of calls as providers take them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.anthropic_messages import tool_id
from gateway.wire.call_ids import CallIds, exactly, no_longer_than, with_plain_ids

IDS = st.sampled_from(["0", "0_2", "0_3", "a.b", "a_b", "call_1", "x" * 200])


@given(st.lists(st.lists(IDS, min_size=1, max_size=4), max_size=6))
def test_no_id_is_written_twice_and_every_result_finds_its_call(turns: list[list[str]]) -> None:
    ids = CallIds(tool_id)
    seen: list[str] = []
    for turn in turns:
        ids.begin_turn()
        written = [ids.call(given) for given in turn]
        assert [ids.answered(given) for given in turn] == written
        seen += written
    assert len(set(seen)) == len(seen)


@given(st.lists(IDS, max_size=12))
def test_an_id_stays_what_it_was_as_the_conversation_grows(calls: list[str]) -> None:
    longer, shorter = CallIds(tool_id), CallIds(tool_id)
    all_of_them = [longer.call(given) for given in calls]
    assert [shorter.call(given) for given in calls[: len(calls) // 2]] == all_of_them[: len(calls) // 2]


def test_ids_that_come_once_stay_as_they_are() -> None:
    ids = CallIds(tool_id)
    assert [ids.call(given) for given in ("toolu_1", "call_2")] == ["toolu_1", "call_2"]
    assert ids.answered("unknown") == "unknown"


def test_a_result_too_many_is_its_calls_too() -> None:
    ids = CallIds(tool_id)
    assert ids.call("0") == ids.answered("0") == ids.answered("0") == "0"


def test_ten_thousand_calls_of_one_id_take_one_try_each() -> None:
    tries = 0

    def plain(given: str) -> str:
        nonlocal tries
        tries += 1
        return given

    ids = CallIds(plain)
    assert len({ids.call("0") for _ in range(10_000)}) == 10_000
    assert tries < 20_001


@given(st.text(), st.text())
def test_an_exact_id_is_always_the_same_has_its_length_and_stays_itself(given_id: str, other: str) -> None:
    plain = exactly(9)
    written = plain(given_id)
    assert re.fullmatch("[a-zA-Z0-9]{9}", written)
    assert plain(given_id) == plain(written) == written
    assert (plain(other) == written) == (other in (given_id, written))


@pytest.mark.parametrize("given_id", ["x" * 40, "é" * 40])
def test_an_id_that_is_short_enough_stays_as_it_is(given_id: str) -> None:
    plain = no_longer_than(40)
    assert plain(given_id) == given_id
    assert len(plain(given_id + "1")) == 40
    assert plain(given_id + "1") != plain(given_id + "2")


def test_only_ids_are_changed_and_a_message_without_any_is_the_same_object() -> None:
    plain = exactly(3)
    for message in ({"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "abc"}, {"tool_calls": [{}, 1]}):
        assert with_plain_ids(message, plain) is message
    odd = {"tool_call_id": 7, "tool_calls": [{"id": None}, {"id": "call_1", "function": {"name": "f"}}, "x"]}
    assert with_plain_ids(odd, plain) == {
        "tool_call_id": 7,
        "tool_calls": [{"id": None}, {"id": plain("call_1"), "function": {"name": "f"}}, "x"],
    }
