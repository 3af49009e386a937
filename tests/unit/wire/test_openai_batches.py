"""What batches and the lines of their output files say that they used."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import openai_batches
from gateway.wire.openai_batches import OutputReader, Share, read_batch
from gateway.wire.usage import Usage


def line(model: Any = "small", prompt: int = 10, answer: int = 2, **fields: Any) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    response = {"status_code": 200, "body": {"model": model, "usage": usage, "choices": []}}
    return orjson.dumps({"custom_id": "1", "response": response, "error": None, **fields}) + b"\n"


def shares(*pieces: bytes, above: int = 1_000_000) -> list[Share]:
    reader = OutputReader(lambda model, prompt: above if prompt > above else 0)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


FILE = line() + line("large", 7, 3) + b"\r\n" + line(prompt=90) + line("large", 1, 1).rstrip()
USED = [Share("small", 0, Usage(100, 4)), Share("large", 0, Usage(8, 4))]


@given(st.lists(st.integers(0, len(FILE)), max_size=8))
def test_lines_are_added_up_by_model_however_the_file_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FILE)]
    assert shares(*(FILE[a:b] for a, b in pairwise(edges))) == USED


def test_prompts_of_another_price_tier_are_added_up_apart() -> None:
    assert shares(line(prompt=10), line(prompt=300), line(prompt=20), above=200) == [
        Share("small", 0, Usage(30, 4)),
        Share("small", 200, Usage(300, 2)),
    ]


def test_a_failed_line_costs_nothing() -> None:
    failed = orjson.dumps({"response": {"status_code": 400, "body": {"error": {"message": "no"}}}})
    expired = orjson.dumps({"response": None, "error": {"code": "batch_expired"}})
    assert shares(failed + b"\n" + expired + b"\n\n") == []


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"custom_id": "1"}',
        b'{"response": {"status_code": 200, "body": "text"}}',
        b'{"response": {"status_code": 200, "body": {"model": 7}}}',
        b'{"response": {"status_code": 200, "body": {"model": "a\\u0000b", "usage": []}}}',
    ],
)
def test_a_line_that_does_not_say_what_it_used_makes_an_estimate_of_the_sum(bad: bytes) -> None:
    assert shares(bad + b"\n" + line()) == [Share("", 0, Usage(estimated=True)), Share("small", 0, Usage(10, 2))]


def test_a_line_that_is_too_long_is_passed_over_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_batches, "MAX_LINE_BYTES", 200)
    reader = OutputReader(lambda model, prompt: 0)
    for _ in range(100):
        reader.feed(b"x" * 150)
        assert len(reader._line) <= 200
    reader.feed(b"\n" + line())
    assert reader.finish() == [Share("", 0, Usage(estimated=True)), Share("small", 0, Usage(10, 2))]


def test_a_file_that_names_ever_new_models_does_not_grow_without_bound() -> None:
    found = shares(*(line(f"model-{n}", 1, 0) for n in range(1000)))
    assert len(found) == 101
    assert sum(share.usage.prompt for share in found) == 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["response", "body", "status_code", "usage", "model", "error", "prompt_tokens", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(), max_size=5))
def test_no_line_however_malformed_raises_or_spoils_the_others(lines: list[bytes]) -> None:
    found = shares(b"\n".join([*lines, line("mine", 5, 1)]))
    mine = [share for share in found if share.model == "mine"]
    assert sum(share.usage.prompt for share in mine) == 5
    assert all(share.model.isprintable() for share in found)
    read_batch({"status": "completed", "usage": lines, "model": lines, "request_counts": lines})


def test_sums_stay_what_a_database_holds() -> None:
    assert shares(*[line(prompt=2**53 - 1)] * 3) == [Share("small", 1_000_000, Usage(2**53, 6))]


def test_a_batch_tells_its_state_model_usage_and_output() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    state = read_batch(
        {
            "status": "completed",
            "model": "small",
            "usage": usage,
            "output_file_id": "file-1",
            "request_counts": {"total": 3, "completed": 2, "failed": 1},
        }
    )
    assert (state.ended, state.model, state.output_file_id, state.answered) == (True, "small", "file-1", 2)
    assert state.usage == Usage(prompt=100, completion=20, cached=40, reasoning=5)


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled", "COMPLETED"])
def test_these_are_ends(status: str) -> None:
    assert read_batch({"status": status}).ended


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "", None, 7])
def test_these_are_not(status: object) -> None:
    assert not read_batch({"status": status}).ended


def test_what_a_batch_does_not_tell_or_tells_badly_is_not_known() -> None:
    empty = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    for document in ({}, {"model": [], "usage": empty, "output_file_id": 3, "request_counts": {"completed": "x"}}):
        state = read_batch(document)
        assert (state.model, state.usage, state.output_file_id, state.answered) == ("", None, None, 0)
