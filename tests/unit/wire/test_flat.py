from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.flat import is_flat

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "temperature": 0.2,
    "stream": True,
    "user": None,
}


def test_the_usual_chat_is() -> None:
    assert is_flat(orjson.dumps(CHAT), CHAT)


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"a": "b"}},
        {"stop": ["a"]},
        {"tools": []},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [{"role": "user", "content": "Hi", "name": "n"}]},
        {"messages": [{"content": "Hi", "file_id": "file-1"}]},
        {"messages": [{"role": "assistant", "content": None}]},
        {"messages": ["Hi"]},
        {"messages": {}},
        {"input": ["a", "b"]},
    ],
)
def test_what_nests_more_is_not(changed: dict[str, Any]) -> None:
    document = {**CHAT, **changed}
    assert not is_flat(orjson.dumps(document), document)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}',  # which of two?
        b'{"messages":[{"role":"user","content":[{"file_id":"f"}]}],"model":"m","messages":[{"role":"user","content":"b"}]}',
        b'{"model": "m","messages":[{"role":"user","content":"b"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\\u0062"}]}',
        b'{"model":"m","n":36893488147419103232,"messages":[{"role":"user","content":"b"}]}',
    ],
)
def test_what_is_not_written_as_it_reads_is_not(body: bytes) -> None:
    assert not is_flat(body, orjson.loads(body))


def test_what_cannot_be_written_is_not() -> None:
    assert not is_flat(b"{}", {"model": "\ud800"})
