"""What the stage makes of a request with an `Idempotency-Key`: who answers, what is kept, what is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.answer_once import AnswerOnce
from gateway.services.idempotency.answer import Answer
from gateway.services.idempotency.service import Asked, Claim, IdempotencyOptions
from gateway.services.keys.key import Key
from gateway.upstream.job import CLIENT_GONE
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import (
    DONE,
    Bench,
    FakeLine,
    Script,
    event,
    fails,
    stream,
    target,
    usage_event,
    whole,
)


class FakeIdempotency:
    """Notes what becomes of the one claim; `answer` is given to whoever asks while it is there."""

    def __init__(self, max_answer_bytes: int = 1000) -> None:
        self.options = IdempotencyOptions(max_answer_bytes=max_answer_bytes)
        self.notes: list[str] = []
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Answer | None = None
        self.away: set[str] = set()
        self.patience_s = 0.0

    def _note(self, what: str) -> None:
        if what in self.away:
            raise GatewayError("store_unavailable", "The database is away.")
        self.notes.append(what)

    def read(self, *asked: Any) -> Asked:
        self.asked.append(asked)
        return Asked(b"", ())

    async def join(self, asked: Asked, claim_id: str, patience_s: float) -> Claim | Answer:
        self.patience_s = patience_s
        self._note("join")
        return self.answer or Claim(asked.scope, claim_id)

    async def mark_sent(self, claim: Claim) -> None:
        self._note("sent")
        claim.sent = True

    async def keep(self, claim: Claim, answer: Answer | None) -> None:
        claim.over = True
        self._note("kept" if answer is not None else "too large")
        self.answer = answer

    async def release(self, claim: Claim) -> None:
        self._note("released")

    async def abandon(self, claim: Claim) -> None:
        self._note("abandoned")


class Routed(Stage):
    """What the stages before have found out."""

    name = "route"

    def __init__(self, *lines: FakeLine) -> None:
        self._targets = [target(line) for line in lines]

    async def on_request(self, call: Call) -> None:
        call.key = Key(id="k1", name="app")
        call.document = orjson.loads(call.body)
        call.asked_model = "up-1"
        call.stream = call.document["stream"]
        call.targets = self._targets


class Refusing(Stage):
    """A stage behind it that refuses."""

    name = "refuse"

    async def on_request(self, call: Call) -> None:
        raise GatewayError("overloaded", "no")


class World:
    """A pipeline with the stage in it, over one upstream."""

    def __init__(self, *scripts: Script, more: tuple[Stage, ...] = (), **options: Any) -> None:
        self.service = FakeIdempotency(**options)
        self.line = FakeLine(*scripts)
        self.metrics = Metrics.in_memory()
        service: Any = self.service
        self._stages = [Routed(self.line), AnswerOnce(service, self.metrics), *more]

    async def run(self, *, streamed: bool = False, key: bytes | None = b"k-1") -> tuple[Reply | None, Call, Bench]:
        call, bench = self.call(streamed=streamed, key=key), Bench(attempts=1)
        return await Pipeline(self._stages, bench.dispatch).run(call, bench.sink), call, bench

    def call(self, *, streamed: bool, key: bytes | None = b"k-1") -> Call:
        body = orjson.dumps({"model": "up-1", "messages": [{"role": "user"}], "stream": streamed})
        return Call(CHAT, {} if key is None else {b"idempotency-key": key}, body, "127.0.0.1")

    def begin(self, call: Call, bench: Bench) -> asyncio.Task[Reply | None]:
        return asyncio.ensure_future(Pipeline(self._stages, bench.dispatch).run(call, bench.sink))

    def counted(self, result: str) -> float:
        return self.metrics.total("idempotent_requests_total", result)


async def test_a_request_without_the_header_is_none_of_its_business() -> None:
    world = World(whole())
    reply, call, _ = await world.run(key=None)
    assert reply is not None
    assert reply.status == 200
    assert call.once is None
    assert world.service.notes == []
    assert world.service.asked == []


async def test_the_first_answer_is_kept_and_the_second_request_gets_it_and_sends_nothing() -> None:
    world = World(whole())
    made, _, _ = await world.run()
    assert world.service.notes == ["join", "sent", "kept"]
    reply, call, bench = await world.run()
    assert made is not None
    assert reply is not None
    assert (reply.status, reply.body) == (200, made.body)
    assert len(world.line.sent) == 1
    assert call.outcomes == bench.admission.closed == []
    headers, before = dict(reply.headers), dict(made.headers)
    assert headers[b"x-gateway-idempotent-replay"] == b"true"
    assert headers[b"x-gateway-cost-usd"] == b"0.000000000"
    assert headers[b"x-gateway-model"] == before[b"x-gateway-model"]
    assert headers[b"x-request-id"] == call.request_id.encode() != before[b"x-request-id"]
    assert b"x-gateway-attempts" not in headers
    assert [name for name, _ in reply.headers].count(b"content-type") == 1
    assert call.once is not None
    assert call.once.replayed
    assert (world.counted("first"), world.counted("replayed")) == (1, 1)
    ((key_id, path, key, _), _) = world.service.asked
    assert (key_id, path, key) == ("k1", "/v1/chat/completions", b"k-1")
    assert world.service.patience_s == 30


async def test_a_stream_is_replayed_byte_for_byte() -> None:
    world = World(stream(event("a"), event("b"), DONE))
    nothing, _, bench = await world.run(streamed=True)
    assert nothing is None
    assert bench.sink.body == event("a") + event("b") + DONE
    reply, _, later = await world.run(streamed=True)
    assert reply is not None
    assert reply.body == bench.sink.body
    assert dict(reply.headers)[b"content-type"].startswith(b"text/event-stream")
    assert b"x-gateway-cost-usd" not in dict(reply.headers)
    assert later.sink.head is None


@pytest.mark.parametrize("script", [fails(500), fails(404), Script(connect_error="upstream_connect_failed")])
async def test_what_is_no_good_answer_gives_the_key_back(script: Script) -> None:
    world = World(script)
    reply, _, _ = await world.run()
    assert reply is not None
    assert reply.status >= 400
    assert world.service.notes == ["join", "sent", "released"]


async def test_a_stream_that_broke_gives_the_key_back() -> None:
    world = World(stream(event("a"), error="upstream_idle_timeout"))
    _, call, bench = await world.run(streamed=True)
    assert call.broken is not None
    assert b"error" in bench.sink.body
    assert world.service.notes == ["join", "sent", "released"]


async def test_a_refusal_by_a_stage_behind_it_gives_the_key_back_unsent() -> None:
    world = World(whole(), more=(Refusing(),))
    reply, _, _ = await world.run()
    assert reply is not None
    assert reply.status == 503
    assert world.service.notes == ["join", "released"]


async def test_a_stream_above_the_limit_reaches_its_client_and_is_not_kept() -> None:
    world = World(stream(event("a"), event("b"), DONE), max_answer_bytes=len(event("a")) + 1)
    _, _, bench = await world.run(streamed=True)
    assert bench.sink.body == event("a") + event("b") + DONE
    assert world.service.notes == ["join", "sent", "too large"]


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"caf\xc3\xa9", b"a\tb"])
async def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    world = World(whole())
    reply, _, _ = await world.run(key=key)
    assert reply is not None
    assert reply.status == 400
    error = orjson.loads(reply.body)["error"]
    assert (error["code"], error["param"]) == ("idempotency_key_invalid", "Idempotency-Key")
    assert world.service.notes == []


@pytest.mark.parametrize("away", ["join", "sent"])
async def test_nothing_is_sent_while_the_store_is_away(away: str) -> None:
    world = World(whole())
    world.service.away = {away}
    reply, _, _ = await world.run()
    assert reply is not None
    assert reply.status == 503
    assert world.line.sent == []


async def test_an_answer_that_cannot_be_kept_reaches_its_client_and_its_key_stays_taken() -> None:
    world = World(whole())
    world.service.away = {"kept"}
    reply, _, _ = await world.run()
    assert reply is not None
    assert reply.status == 200
    assert world.service.notes == ["join", "sent"]


async def _hang_up(world: World, call: Call, bench: Bench) -> asyncio.Task[Reply | None]:
    """A client that reads the beginning of a stream and goes."""
    task = world.begin(call, bench)
    while not bench.sink.writes:
        await asyncio.sleep(0)
    task.cancel(CLIENT_GONE)
    for _ in range(10):
        await asyncio.sleep(0)
    return task


async def test_a_stream_whose_client_goes_is_read_to_its_end_and_kept() -> None:
    world, bench = World(stream(event("a"), hang=True)), Bench()
    call = world.call(streamed=True)
    task = await _hang_up(world, call, bench)
    (upstream,) = world.line.connections
    assert not task.done()
    assert not upstream.aborted
    upstream.more(event("b") + DONE)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.sink.body == event("a")
    assert call.status == 499
    assert world.service.notes == ["join", "sent", "kept"]
    (outcome,) = bench.admission.closed
    assert outcome.code == "ok"
    reply, _, _ = await world.run(streamed=True)
    assert reply is not None
    assert reply.body == event("a") + event("b") + DONE


async def test_a_stream_whose_client_has_gone_is_cut_where_it_cannot_be_kept() -> None:
    world, bench = World(stream(event("a"), hang=True), max_answer_bytes=len(event("a"))), Bench()
    task = await _hang_up(world, world.call(streamed=True), bench)
    (upstream,) = world.line.connections
    upstream.more(event("b"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.aborted
    assert world.service.notes == ["join", "sent", "abandoned"]
    bench.admission.check()


async def test_a_call_that_is_cancelled_for_good_says_that_nobody_knows() -> None:
    world, bench = World(stream(event("a"), hang=True)), Bench()
    task = await _hang_up(world, world.call(streamed=True), bench)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.line.connections[0].aborted
    assert world.service.notes == ["join", "sent", "abandoned"]
    bench.admission.check()


async def test_a_gateway_that_ends_while_the_client_waits_cuts_the_call_at_once() -> None:
    world, bench = World(stream(event("a"), hang=True)), Bench()
    task = world.begin(world.call(streamed=True), bench)
    while not bench.sink.writes:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.line.connections[0].aborted
    assert world.service.notes == ["join", "sent", "abandoned"]
    bench.admission.check()


async def test_what_cannot_be_kept_is_read_to_its_end_where_the_provider_is_to_be_heard_out() -> None:
    world, bench = World(stream(event("a"), hang=True), max_answer_bytes=len(event("a"))), Bench()
    call = world.call(streamed=True)
    task = await _hang_up(world, call, bench)
    call.targets[0].account.finishes = True
    (upstream,) = world.line.connections
    upstream.more(event("b"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    upstream.more(usage_event() + DONE)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not upstream.aborted
    (outcome,) = bench.admission.closed
    assert outcome.usage is not None
    assert world.service.notes[-1] == "abandoned"


async def test_a_failure_after_the_client_has_gone_gives_the_key_back() -> None:
    world, bench = World(stream(event("a"), hang=True)), Bench()
    task = await _hang_up(world, world.call(streamed=True), bench)
    world.line.connections[0].finish()  # without its [DONE]
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.service.notes == ["join", "sent", "released"]
