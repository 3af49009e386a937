"""The receivers of an answer: what they do to the connection and to the client's side, and what never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.upstream.attempt import StreamAnswer, WholeAnswer
from gateway.upstream.job import Outcome
from gateway.upstream.straight import STRAIGHT
from gateway.wire.openai_answer import StreamTap
from tests.unit.upstream.fakes import (
    DONE,
    JSON,
    SSE,
    FakeAdmission,
    FakeConnection,
    FakeJob,
    FakeLine,
    FakeSink,
    event,
    stream,
    target,
)


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.began = 0
        self.ended: list[str] = []

    def stream_began(self) -> None:
        self.began += 1

    def stream_ended(self, answer: StreamAnswer, error: GatewayError | None) -> None:
        self.ended.append("ok" if error is None else error.code)


class Stage:
    """A StreamAnswer with everything around it."""

    def __init__(self) -> None:
        up = target(FakeLine(stream()))
        self.connection = FakeConnection(stream(lingers=True), [])
        self.sink = FakeSink(FakeAdmission())
        self.owner = Owner()
        connection: Any = self.connection
        self.answer = StreamAnswer(
            asyncio.get_running_loop(),
            job=FakeJob([up], streamed=True),
            sink=self.sink,
            outcome=Outcome(up, 1),
            tap=StreamTap(rename_to=None, withhold_usage=True),
            is_stream=STRAIGHT.is_stream,
            connection=connection,
            owner=self.owner,
        )
        self.answer.on_head(200, SSE)


async def test_a_whole_answer_joins_its_pieces() -> None:
    answer = WholeAnswer(asyncio.get_running_loop())
    answer.on_head(200, JSON)
    answer.on_body(b"a")
    answer.on_body(b"b")
    answer.on_end()
    await answer.waiter
    assert answer.body == b"ab"
    assert answer.header(b"content-type") == b"application/json"
    assert answer.header(b"x-missing") == b""


async def test_each_read_is_written_on_at_once_and_whole_events_only() -> None:
    stage = Stage()
    first = event("one")
    stage.answer.on_body(first[:20])
    assert not stage.sink.writes
    stage.answer.on_body(first[20:] + event("two") + b"data: {")
    assert stage.sink.writes == [first + event("two")]
    assert stage.sink.flow is stage.connection
    assert stage.owner.began == 1


async def test_the_flow_is_detached_before_the_end_and_the_upstream_flows_again() -> None:
    stage = Stage()
    stage.answer.on_body(event() + DONE)
    assert stage.sink.flow is None
    assert stage.sink.ended
    assert stage.owner.ended == ["ok"]
    stage.answer.on_body(b"data: surplus\n\n")
    stage.answer.on_failure(GatewayError("upstream_idle_timeout", "late"))
    assert stage.sink.body == event() + DONE
    assert stage.owner.ended == ["ok"]
    assert not stage.connection.misuses


async def test_a_stream_may_end_without_the_empty_line_behind_done() -> None:
    stage = Stage()
    stage.answer.on_body(event() + b"data: [DONE]")
    stage.connection.over = True
    stage.answer.on_end()
    assert stage.sink.body == event() + DONE
    assert stage.owner.ended == ["ok"]
    assert not stage.connection.misuses


async def test_an_empty_stream_that_ends_with_its_body_touches_no_foreign_connection() -> None:
    stage = Stage()
    stage.answer.on_body(b"data: [DONE]\n")
    stage.connection.over = True
    stage.answer.on_end()
    assert stage.sink.body == DONE
    assert stage.sink.flow is None
    assert not stage.connection.misuses


async def test_a_client_that_has_gone_aborts_only_what_is_still_its_own() -> None:
    stage = Stage()
    stage.answer.on_body(event())
    stage.answer.give_up()
    assert stage.connection.aborted
    stage = Stage()
    stage.answer.on_body(event())
    stage.connection.over = True
    stage.answer.on_end()
    stage.answer.give_up()
    assert not stage.connection.misuses
    assert not stage.connection.aborted


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, JSON),
        (429, SSE),
        (200, [*SSE, (b"content-encoding", b"gzip")]),
    ],
)
async def test_what_is_no_stream_is_collected(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    stage = Stage()
    stage.answer.on_head(status, headers)
    stage.answer.on_body(event())
    stage.answer.on_end()
    await stage.answer.waiter
    assert stage.answer.body == event()
    assert not stage.answer.started
    assert stage.sink.head is None
