"""Keys that stand in a body twice."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.duplicates import is_ambiguous, named_once
from gateway.wire.openai import CHAT, Variations, encode_request, read_request

PLAIN = Variations()
# Each could be hidden from the one who judges by the harmless value that comes last, or first.
DEAR: dict[str, Any] = {
    "audio": {"voice": "a"},
    "best_of": 20,
    "functions": [{"name": "f"}],
    "max_completion_tokens": 100_000,
    "max_tokens": 100_000,
    "modalities": ["text", "audio"],
    "models": ["dearest"],
    "n": 128,
    "plugins": [{"id": "web"}],
    "prediction": {"type": "content", "content": "x"},
    "response_format": {"type": "json_schema", "json_schema": {}},
    "search_parameters": {"mode": "on"},
    "service_tier": "priority",
    "tools": [{"type": "web_search"}],
    "web_search_options": {},
}


@pytest.mark.parametrize("field", DEAR)
@pytest.mark.parametrize("large", [False, True])
def test_what_may_cost_money_is_sent_as_it_was_judged(field: str, large: bool) -> None:
    said = {"model": "m", "messages": [{"role": "user", "content": "x" * (10_000 if large else 1)}]}
    begun = orjson.dumps(said)[:-1]
    dear = orjson.dumps(DEAR[field])
    for first, last in ((dear, b"null"), (b"null", dear)):
        body = b'%b,"%b":%b,"%b":%b}' % (begun, field.encode(), first, field.encode(), last)
        document = read_request(CHAT, body)
        assert orjson.loads(last) == document[field]
        sent = encode_request(body, document, "m", PLAIN)
        assert sent == orjson.dumps(document)
        assert sent.count(b'"%b":' % field.encode()) == 1


def test_whether_usage_is_reported_is_not_left_to_chance() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user"}],"stream":true,'
        b'"stream_options":{"include_usage":false,"include_usage":true}}'
    )
    sent = encode_request(body, read_request(CHAT, body), "m", PLAIN)
    assert sent.count(b"include_usage") == 1
    assert orjson.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("field", ["temperature", "stop", "user", "metadata", "thinking"])
def test_what_changes_nothing_that_is_paid_keeps_the_bytes(field: str) -> None:
    body = b'{"model":"m","messages":[{"role":"user"}], "%b":1,"%b":2}' % (field.encode(), field.encode())
    assert not is_ambiguous(body, orjson.loads(body))


KEYS = st.sampled_from(["model", "max_tokens", "n", "plugins", "x", "é", 'a"b'])


@given(st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=6), st.sampled_from([0, 5000]))
def test_no_duplicate_that_matters_is_overlooked(members: list[tuple[str, int]], padding: int) -> None:
    written = [b"%b:%d" % (orjson.dumps(key), value) for key, value in members]
    body = b"{%b}" % b",".join([*written, b'"user":"%b"' % (b"u" * padding)])
    names = [key for key, _ in members]
    assert is_ambiguous(body, orjson.loads(body)) is (len(names) != len(set(names)))


def test_a_large_body_as_most_clients_write_it_is_known_to_be_plain() -> None:
    text = 'it says "model" and {"model": 1}' * 1000
    document = {"model": "m", "messages": [{"role": "user", "content": text}], "tools": [{"model": {"model": 1}}]}
    assert not is_ambiguous(orjson.dumps(document), document)


# --- at any depth -----------------------------------------------------------------------------------


def _written(value: Any, draw: st.DrawFn) -> str:
    """`value`, in which objects are lists of pairs, as JSON of any style: with spaces and escapes here and there."""
    space = draw(st.sampled_from(["", "", " ", "\n\t"]))
    if isinstance(value, tuple):
        members = [f"{_written(key, draw)}{space}:{space}{_written(inner, draw)}" for key, inner in value]
        return "{" + space + f",{space}".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(_written(inner, draw) for inner in value) + "]"
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return text.replace("t", "\\u0074") if value in ("type", "text") and draw(st.booleans()) else text


WORDS = st.sampled_from(["type", "text", "", "é", 'a"b', 'x":', "\\", '\\"', ":", '{"a":1}', "n:", "true"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(0, 1e300) | WORDS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(WORDS, inner), max_size=4).map(tuple)
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    members = draw(st.lists(st.tuples(WORDS, VALUES), max_size=4).map(tuple))
    return _written(members, draw).encode()


@given(bodies())
def test_a_body_is_written_anew_where_any_object_names_a_key_twice_and_only_there(body: bytes) -> None:
    doubled = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        doubled = doubled or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(body, object_pairs_hook=note)
    document = orjson.loads(body)
    assert named_once(body, document) == (orjson.dumps(document) if doubled else body)


TWICE = b'{"seed":%b,"messages":[{"role":"user","role":"user"}]}'


@pytest.mark.parametrize("number", [b"18446744073709551616", b"-9223372036854775809", b"1" + b"0" * 100])
def test_an_integer_that_only_the_bytes_have_is_not_made_another(number: bytes) -> None:
    body = TWICE % number
    with pytest.raises(GatewayError, match="64 bits") as refused:
        named_once(body, orjson.loads(body))
    assert refused.value.code == "invalid_json"
    plain = re.sub(rb'"role":"user",', b"", body)
    assert named_once(plain, orjson.loads(plain)) == plain


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (b"18446744073709551615", b"18446744073709551615"),
        (b"-9223372036854775808", b"-9223372036854775808"),
        (b"1.00000000000000000000", b"1.0"),
        (b'"18446744073709551616"', b'"18446744073709551616"'),
    ],
)
def test_other_numbers_stay_what_they_are(number: bytes, written: bytes) -> None:
    body = TWICE % number
    assert named_once(body, orjson.loads(body)) == b'{"seed":%b,"messages":[{"role":"user"}]}' % written
