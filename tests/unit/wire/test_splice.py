"""Changing the model's name inside JSON bytes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.splice import insert_member, replace_only_model, replace_top_level_model

KEYS = st.sampled_from(["model", "a", 'b"model', '"model":', "{", "choices"])
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.sampled_from(["model", '"model":"x"', "{[", "\\", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(OBJECTS, st.sampled_from(["", "first", "last"]), st.booleans())
def test_only_the_top_level_model_changes(document: dict[str, Any], where: str, indented: bool) -> None:
    document.pop("model", None)
    if where == "first":
        document = {"model": "old", **document}
    elif where == "last":
        document = {**document, "model": "old"}
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else 0)
    expected = {**document, "model": 'new"é'} if where else document
    renamed = replace_top_level_model(body, 'new"é')
    assert orjson.loads(renamed) == expected
    assert list(orjson.loads(renamed)) == list(expected)


@pytest.mark.parametrize("size", [100, 70_000, 2_000_000])
def test_a_large_answer_keeps_every_other_byte(size: int) -> None:
    text = '{"model":"inner"} \\ "'.ljust(size, "x")
    head = orjson.dumps({"data": [{"model": "nested", "text": text}], "n": {"model": 1}})[:-1]
    tail = b',"usage" : {"total_tokens":1.50}, "z":[{"a":{}}]}'
    renamed = replace_top_level_model(head + b', "model" : "old"' + tail, "new")
    assert renamed == head + b', "model" : "new"' + tail
    padded = tail[:-1] + b"," + orjson.dumps({"more": "y" * 9000})[1:]
    renamed = replace_top_level_model(head + b', "model" : "old"' + padded, "new")
    assert renamed == head + b', "model" : "new"' + padded


def test_the_one_model_of_a_request_is_replaced_wherever_it_stands() -> None:
    assert replace_only_model(b'{"messages":[{"a":1}], "model": "old", "n":1.0}', "new") == (
        b'{"messages":[{"a":1}], "model": "new", "n":1.0}'
    )
    assert replace_only_model(b'{"model":"a","model":"b"}', "new") is None
    assert replace_only_model(b'{"user":"x"}', "new") is None
    assert replace_only_model(b'{"user":"model"}', "new") is None


def test_a_member_is_put_first() -> None:
    assert insert_member(b' { "a":1}', b'"b":2') == b' {"b":2, "a":1}'
    assert insert_member(b"[1]", b'"b":2') is None
