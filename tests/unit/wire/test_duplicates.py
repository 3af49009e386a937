"""Keys that stand in a body twice."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.duplicates import is_ambiguous
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
