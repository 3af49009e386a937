"""What leaves for a provider that speaks Anthropic's API as the client does."""

from __future__ import annotations

import orjson
import pytest

from gateway.upstream.messages_passage import MESSAGES_PASSAGE
from tests.unit.upstream.fakes import FakeJob, FakeLine, target, whole

BODY = b'{"model":"up-1", "max_tokens":9, "messages":[{"role":"user","content":"hi"}]}'


def encoded(body: bytes) -> bytes:
    job = FakeJob([target(FakeLine(whole()))])
    job.body, job.document = body, orjson.loads(body)
    return MESSAGES_PASSAGE.encode(job, job.targets[0])  # type: ignore[arg-type]


def test_the_clients_bytes_are_kept() -> None:
    assert encoded(BODY) == BODY


@pytest.mark.parametrize("more", [b'"max_tokens":1', b'"model":"up-1"', b'"tools":[{"type":"web_search"}],"tools":[]'])
def test_a_body_that_can_be_read_in_two_ways_is_written_in_the_one_that_was_judged(more: bytes) -> None:
    body = BODY[:-1] + b"," + more + b"}"
    assert encoded(body) == orjson.dumps(orjson.loads(body))
