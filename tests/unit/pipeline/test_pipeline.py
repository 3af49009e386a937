"""The pipeline: order, early replies, and that every begun stage closes its account exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import Pipeline, retry_headers
from gateway.pipeline.stage import Stage, Turn
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import DONE, Bench, FakeLine, event, fails, stream, target, whole


class Noted(Stage):
    """Writes down its turns."""

    def __init__(self, name: str, notes: list[str], *, begin: Any = None, end: Any = None) -> None:
        self.name = name
        self._notes = notes
        self._begin = begin
        self._end = end

    async def on_request(self, call: Call) -> Reply | None:
        self._notes.append(f"+{self.name}")
        if isinstance(self._begin, BaseException):
            raise self._begin
        return self._begin if isinstance(self._begin, Reply) else None

    async def on_end(self, call: Call) -> None:
        self._notes.append(f"-{self.name}")
        if self._end is not None:
            raise self._end


class OnlyEnd(Stage):
    """A stage that only wants to hear of the end."""

    name = "only_end"

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    async def on_end(self, call: Call) -> None:
        self._notes.append("-only_end")


class Routed(Stage):
    """Gives the call its targets."""

    name = "route"

    def __init__(self, *targets: Any, streamed: bool = False) -> None:
        self._targets = targets
        self._streamed = streamed

    async def on_request(self, call: Call) -> None:
        call.document = {"model": "up-1", "messages": [{"role": "user"}], "stream": self._streamed}
        call.body = orjson.dumps(call.document)
        call.asked_model = "up-1"
        call.stream = self._streamed
        call.targets = self._targets


def _call(**headers: str) -> Call:
    return Call(CHAT, {name.encode(): value.encode() for name, value in headers.items()}, b"{}", "127.0.0.1")


async def _run(stages: list[Stage], call: Call | None = None, bench: Bench | None = None) -> tuple[Any, Call]:
    bench = bench or Bench()
    call = call or _call()
    return await Pipeline(stages, bench.dispatch).run(call, bench.sink), call


async def test_stages_begin_in_order_and_end_in_reverse() -> None:
    notes: list[str] = []
    stages = [Noted("a", notes), OnlyEnd(notes), Noted("b", notes), Routed(target(FakeLine(whole())))]
    reply, call = await _run(stages)
    assert reply.status == 200
    assert notes == ["+a", "+b", "-b", "-only_end", "-a"]
    assert call.status == 200
    assert call.error is None


async def test_a_reply_from_a_stage_ends_the_turn_and_is_not_changed_for_the_next_call() -> None:
    notes: list[str] = []
    early = Reply(200, b"{}", [(b"content-type", b"application/json")])
    stages: list[Stage] = [Noted("a", notes), Noted("b", notes, begin=early), Noted("c", notes)]
    for _ in range(2):
        reply, _ = await _run(stages)
        assert [name for name, _ in reply.headers].count(b"x-request-id") == 1
    assert notes == ["+a", "+b", "-b", "-a"] * 2
    assert len(early.headers) == 1


async def test_a_refusal_closes_the_stage_that_refused_too() -> None:
    notes: list[str] = []
    refusal = GatewayError("invalid_api_key", "no")
    reply, call = await _run([Noted("a", notes), Noted("b", notes, begin=refusal), Noted("c", notes)])
    assert reply.status == 401
    assert notes == ["+a", "+b", "-b", "-a"]
    assert call.error is refusal
    assert orjson.loads(reply.body)["error"]["code"] == "invalid_api_key"


async def test_a_stage_that_breaks_is_a_500_that_says_nothing_of_it() -> None:
    notes: list[str] = []
    reply, call = await _run([Noted("a", notes, begin=RuntimeError("secret"))])
    assert reply.status == call.status == 500
    assert b"secret" not in reply.body
    assert notes == ["+a", "-a"]


@pytest.mark.parametrize("broken", [RuntimeError("gone"), GatewayError("store_unavailable", "gone")])
async def test_an_optional_stage_that_breaks_is_passed_over(broken: Exception) -> None:
    notes: list[str] = []
    stage = Noted("a", notes, begin=broken)
    stage.optional = True
    reply, _ = await _run([stage, Routed(target(FakeLine(whole())))])
    assert reply.status == 200
    assert notes == ["+a", "-a"]


async def test_an_optional_stage_may_still_refuse() -> None:
    stage = Noted("a", [], begin=GatewayError("invalid_request", "no"))
    stage.optional = True
    reply, _ = await _run([stage])
    assert reply.status == 400


async def test_a_stage_whose_end_breaks_keeps_no_other_from_its_own() -> None:
    notes: list[str] = []
    stages = [Noted("a", notes), Noted("b", notes, end=RuntimeError("x")), Routed(target(FakeLine(whole())))]
    reply, _ = await _run(stages)
    assert reply.status == 200
    assert notes == ["+a", "+b", "-b", "-a"]


async def test_a_cancelled_call_closes_every_stage_even_if_one_is_cancelled_again() -> None:
    notes: list[str] = []
    hangs = stream(event(), hang=True)
    stages = [
        Noted("a", notes),
        Noted("b", notes, end=asyncio.CancelledError()),
        Routed(target(FakeLine(hangs)), streamed=True),
    ]
    bench = Bench()
    call = _call()
    task = asyncio.ensure_future(_run(list(stages), call, bench))
    while not bench.sink.writes:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert notes == ["+a", "+b", "-b", "-a"]
    assert call.status == 499
    assert call.error is not None
    bench.admission.check()


class Watching(Stage):
    """Looks at chunks."""

    name = "watch"

    def __init__(self, seen: list[bytes], fault: Exception | None = None, *, optional: bool = False) -> None:
        self._seen = seen
        self._fault = fault
        self.optional = optional

    def on_chunk(self, call: Call, data: bytes) -> None:
        self._seen.append(data)
        if self._fault is not None:
            raise self._fault


async def test_a_stage_sees_the_chunks_that_go_to_the_client() -> None:
    seen: list[bytes] = []
    bench = Bench()
    up = target(FakeLine(stream(event("a"), event("b"), DONE)))
    reply, call = await _run([Watching(seen), Routed(up, streamed=True)], bench=bench)
    assert reply is None
    assert seen == [event("a"), event("b")]
    assert bench.sink.body == event("a") + event("b") + DONE
    assert bench.sink.head is not None
    names = [name for name, _ in bench.sink.head[1]]
    assert b"x-gateway-attempts" in names
    assert b"x-gateway-cost-usd" not in names
    assert call.first_token_at > 0


async def test_an_optional_stage_that_breaks_on_a_chunk_is_passed_over_and_any_other_ends_the_stream() -> None:
    for optional in (True, False):
        bench = Bench()
        up = target(FakeLine(stream(event("a"), DONE)))
        stages = [Watching([], RuntimeError("secret"), optional=optional), Routed(up, streamed=True)]
        reply, call = await _run(stages, bench=bench)
        assert reply is None
        assert b"secret" not in bench.sink.body
        assert (DONE in bench.sink.body) is optional
        assert (call.error is None) is optional
        bench.admission.check()


async def test_a_failed_attempts_headers_say_how_many_there_were() -> None:
    up = target(FakeLine(fails(500)), name="p")
    reply, _ = await _run([Routed(up)], bench=Bench(attempts=2))
    headers = dict(reply.headers)
    assert headers[b"x-gateway-attempts"] == b"2"
    assert headers[b"x-should-retry"] == b"false"
    assert reply.status == 502


def test_a_hook_that_nobody_calls_is_refused_at_the_start() -> None:
    class Wrong(Stage):
        name = "wrong"

        async def on_reqest(self, call: Call) -> None:
            """A slip of the pen."""

    with pytest.raises(TypeError, match="on_reqest"):
        Pipeline([Wrong()], Bench.__new__(Bench))  # type: ignore[arg-type]


def test_a_hook_of_the_wrong_kind_is_refused_at_the_start() -> None:
    class Wrong(Stage):
        name = "wrong"

        async def on_chunk(self, call: Call, data: bytes) -> None:  # type: ignore[override]
            """Would never be awaited."""

    with pytest.raises(TypeError, match="on_chunk"):
        Pipeline([Wrong()], Bench.__new__(Bench))  # type: ignore[arg-type]


def test_a_stage_needs_a_name() -> None:
    with pytest.raises(TypeError, match="name"):
        Pipeline([Stage()], Bench.__new__(Bench))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("retry_after_s", "should_retry", "headers"),
    [
        (None, None, {}),
        (0.2, None, {b"retry-after": b"1"}),
        (3.0, False, {b"retry-after": b"3", b"x-should-retry": b"false"}),
        (61.0, None, {b"retry-after": b"61", b"x-should-retry": b"false"}),
        (None, True, {b"x-should-retry": b"true"}),
    ],
)
def test_retry_headers_round_up_and_say_when_waiting_is_pointless(
    retry_after_s: float | None, should_retry: bool | None, headers: dict[bytes, bytes]
) -> None:
    error = GatewayError("overloaded", "m", retry_after_s=retry_after_s, should_retry=should_retry)
    assert dict(retry_headers(error)) == headers


class AtOnce(Stage):
    """A stage that waits only where it is told to."""

    name = "at_once"

    def __init__(self, turn: Reply | None = None, *, waits: bool = False) -> None:
        self._turn = turn
        self._waits = waits

    def on_request(self, call: Call) -> Turn:
        return self._wait() if self._waits else self._turn

    async def _wait(self) -> Reply | None:
        return self._turn


@pytest.mark.parametrize("waits", [False, True])
async def test_a_turn_may_be_a_plain_function_and_a_call_knows_whether_it_had_to_wait(waits: bool) -> None:
    bench = Bench()
    up = target(FakeLine(whole()), model="up-1")
    reply, call = await _run([AtOnce(waits=waits), Routed(up)], bench=bench)
    assert reply.status == 200
    assert call.waited is True  # Routed is a coroutine
    own = Reply(202, b"{}", [(b"content-type", b"application/json")])
    reply, call = await _run([AtOnce(own, waits=waits), Routed(up)], bench=bench)
    assert (reply.status, call.waited) == (202, waits)
    assert own.headers == [(b"content-type", b"application/json")]
