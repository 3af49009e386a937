"""Several answers in one stream, from providers that give one at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.upstream.passages import Passages
from gateway.upstream.target import Manner, Target
from gateway.wire.chunks import usage_document
from gateway.wire.dialects import find_dialect
from gateway.wire.openai import Variations
from gateway.wire.usage import Usage
from tests.unit.upstream.fakes import (
    DONE,
    SSE,
    Bench,
    FakeAdmission,
    FakeConnection,
    FakeJob,
    FakeLine,
    Script,
    event,
    fails,
    stream,
    target,
    usage_event,
    whole,
)
from tests.unit.wire.test_golden_dialects import GOLDEN, read, upstream

LACKS_N = Variations(unsupported=frozenset({"n"}))
GOLDEN_STREAMS = [
    pytest.param(GOLDEN / name / case, marks=pytest.mark.shows(name, "n"), id=f"{name}-{case}")
    for name, case in (
        ("anthropic", "tools_stream"),
        ("anthropic", "thinking_adaptive_stream"),
        ("cohere", "stream"),
        ("cohere", "stream_tools"),
        ("ai21", "stream_tools"),
        ("ollama", "stream_thinking"),
        ("bedrock", "tools_stream"),
        ("huggingface", "router_stream"),
    )
]
LOGPROBS = {"content": [{"token": "hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}


class Weaving:
    """A job for several answers of a provider of OpenAI's kind without `n`, and all that it meets."""

    def __init__(self, *scripts: Script, n: int = 2, admission: FakeAdmission | None = None, **more: Any) -> None:
        self.line = FakeLine(*scripts)
        self.target = more.pop("target", None) or target(self.line, variations=LACKS_N)
        self.job: Any = FakeJob([self.target], streamed=True, n=n, **more)
        self.job.cost_nano_usd = -1
        self.bench = Bench(admission)
        self.bench.dispatch.passage = Passages(no_fetch)

    async def run(self) -> Any:
        """What dispatch returned or raised; no account is left open and no connection touched after its exchange."""
        try:
            return await self.bench.run(self.job)
        finally:
            assert not self.bench.admission.open
            assert not [misuse for connection in self.line.connections for misuse in connection.misuses]

    @property
    def payloads(self) -> list[bytes]:
        """The events that the client got."""
        events = self.bench.sink.body.split(b"\n\n")
        assert events.pop() == b""
        return [payload.removeprefix(b"data: ") for payload in events]

    @property
    def chunks(self) -> list[Any]:
        """Those of a stream that ended well, but for the end."""
        assert self.payloads[-1] == b"[DONE]"
        assert self.payloads.count(b"[DONE]") == 1
        assert self.bench.sink.ended
        return [orjson.loads(payload) for payload in self.payloads[:-1]]

    @property
    def error(self) -> Any:
        """The last event of a stream that did not."""
        assert b"[DONE]" not in self.payloads
        assert self.bench.sink.ended
        return orjson.loads(self.payloads[-1])["error"]

    @property
    def connections(self) -> list[Any]:
        """The upstreams' ends."""
        return self.line.connections


async def no_fetch(url: str) -> tuple[str, bytes]:
    raise AssertionError(url)


async def until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


def choices_of(chunks: list[Any], index: int) -> list[Any]:
    return [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


@pytest.mark.parametrize("folder", GOLDEN_STREAMS)
async def test_each_choice_is_what_its_own_request_would_have_streamed(folder: Path) -> None:
    case, request, alone = read(folder, "case.json"), read(folder, "request.json"), read(folder, "reply.json")
    script = Script(headers=[(b"content-type", b"application/octet-stream")], reads=[upstream(folder)])
    line = FakeLine(script)
    manner = Manner(dialect=find_dialect(folder.parent.name), options=case.get("options", {}))
    made: Target = target(line, model=case["model"], manner=manner)
    weaving = Weaving(target=made, n=3, asked=case.get("shown_model", request["model"]))
    weaving.job.request_id = "golden"  # ids of the gateway's own making come of it
    wanted = {"n": 3, "stream": True, "stream_options": {"include_usage": True}}
    weaving.job.document = {**request, **wanted}
    assert await weaving.run() is None
    *chunks, last = weaving.chunks
    for index in range(3):
        expected = [{**choice, "index": index} for chunk in alone for choice in chunk["choices"]]
        assert choices_of(chunks, index) == expected
    assert all(set(chunk) == set(alone[0]) for chunk in chunks)
    for name in ("id", "created", "model"):
        assert len({chunk[name] for chunk in [*chunks, last]}) == 1
    total = Usage(**{name: 3 * count for name, count in case["usage"].items()})
    assert (last["choices"], last["usage"]) == ([], usage_document(total))
    assert len(line.sent) == 3
    assert [outcome.usage for outcome in weaving.job.outcomes] == [Usage(**case["usage"])] * 3


@pytest.mark.shows("groq", "n")
async def test_the_bytes_of_openais_own_dialect_are_woven_too_with_logprobs() -> None:
    first = b'data: {"id":"1","created":5,"model":"up-1","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    told: Any = {"choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": LOGPROBS}]}
    last: Any = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
    rest = b": still there\n\n" + event(**told) + event(**last) + usage_event() + DONE
    asked = {"stream_options": {"include_usage": True}}
    weaving = Weaving(stream(first, rest), stream(first.replace(b'"1"', b'"2"'), rest), **asked)
    await weaving.run()
    *chunks, end = weaving.chunks
    for index in (0, 1):
        role, text, reason = choices_of(chunks, index)
        assert role["delta"] == {"role": "assistant"}
        assert (text["delta"], text["logprobs"]) == ({"content": "hi"}, LOGPROBS)
        assert reason["finish_reason"] == "stop"
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {("1", 5, "up-1")}
    assert not any("usage" in chunk for chunk in chunks)
    assert end["usage"] == {"prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20}
    assert all(b'"n"' not in body for _, body in weaving.line.sent)


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": True}}])
async def test_usage_is_told_only_if_asked_for_and_if_all_of_it_is_known(asked: Any) -> None:
    knowing = stream(event() + usage_event() + DONE)
    weaving = Weaving(knowing, stream(event() + DONE), **asked)
    await weaving.run()
    assert len(weaving.chunks) == 2
    assert [outcome.usage is None for outcome in weaving.job.outcomes] == [False, True]
    assert weaving.job.outcomes[1].streamed_tokens >= 0
    weaving = Weaving(knowing, **asked)
    await weaving.run()
    assert sum("usage" in chunk for chunk in weaving.chunks) == bool(asked)


async def test_the_first_event_of_any_leaves_at_once_and_the_end_when_all_accounts_are_closed() -> None:
    weaving = Weaving(stream(hang=True), n=3)
    running = asyncio.ensure_future(weaving.run())
    await until(lambda: len(weaving.line.sent) == 3)
    await asyncio.sleep(0)  # for the heads
    one, two, three = weaving.connections
    assert weaving.bench.sink.head is None
    two.more(event("first"))
    assert weaving.bench.sink.head == (200, SSE)
    (payload,) = weaving.payloads
    assert orjson.loads(payload)["choices"][0] == {"index": 1, "delta": {"content": "first"}}
    for connection in (two, one, three):
        connection.more(event("more") + usage_event() + DONE)
        assert b"[DONE]" not in weaving.bench.sink.body
    assert await running is None
    assert weaving.bench.sink.closed_at[-1] == 3
    assert [outcome.final for outcome in weaving.job.outcomes] == [True, False, False]
    assert [outcome.number for outcome in weaving.job.outcomes] == [1, 101, 201]
    assert all(outcome.first_byte_s > 0 for outcome in weaving.job.outcomes[:1] + weaving.job.outcomes[2:])
    assert weaving.chunks


async def test_a_failure_before_its_own_first_event_is_tried_again_beside_a_stream_that_runs() -> None:
    weaving = Weaving(stream(event("a"), lingers=True), fails(503), stream(event("b") + usage_event() + DONE))
    running = asyncio.ensure_future(weaving.run())
    await until(lambda: len(weaving.connections) == 3 and b'"b' in weaving.bench.sink.body)
    weaving.connections[0].more(usage_event() + DONE)
    await until(lambda: not weaving.bench.admission.open)
    weaving.connections[0].finish()
    assert await running is None
    assert [choice["delta"]["content"] for choice in choices_of(weaving.chunks, 1)] == ["b"]
    assert [outcome.code for outcome in weaving.job.outcomes] == ["ok", "upstream_overloaded", "ok"]
    assert len(weaving.bench.watcher.retries) == 1


async def test_a_failure_before_any_event_is_the_clients_answer_and_stops_the_others() -> None:
    weaving = Weaving(fails(401), stream(hang=True))
    failed = await weaving.run()
    assert isinstance(failed, GatewayError)
    assert failed.code == "upstream_auth"
    assert weaving.bench.sink.head is None
    assert all(connection.aborted or connection.over for connection in weaving.connections)


async def test_an_upstream_that_breaks_in_its_stream_ends_all_with_an_error_event() -> None:
    broken = stream(event("b"), error="upstream_truncated")
    weaving = Weaving(stream(event("a"), hang=True), broken, n=2)
    assert await weaving.run() is None
    assert weaving.error["code"] == "upstream_truncated"
    assert weaving.job.broken.code == "upstream_truncated"
    assert weaving.connections[0].aborted
    assert [outcome.code for outcome in weaving.job.outcomes] == ["client_gone", "upstream_truncated"]
    assert all(outcome.sent and outcome.billable for outcome in weaving.job.outcomes)
    assert weaving.bench.sink.closed_at[-1] == 2


async def test_an_upstream_that_never_begins_ends_the_stream_of_the_others_with_an_error_event() -> None:
    weaving = Weaving(stream(event("a"), hang=True), fails(401))
    assert await weaving.run() is None
    assert weaving.error["code"] == "upstream_auth"
    assert weaving.connections[0].aborted


@pytest.mark.parametrize("bad", [b"data: nonsense\n\n", b"data: [1]\n\n"])
async def test_an_event_that_is_no_json_ends_the_stream(bad: bytes) -> None:
    weaving = Weaving(stream(event("a"), bad, hang=True), stream(event("b"), hang=True))
    assert await weaving.run() is None
    assert weaving.error["code"] == "upstream_bad_answer"
    assert all(connection.aborted for connection in weaving.connections)


async def test_choices_that_are_none_are_left_out() -> None:
    odd = b'data: {"choices": {"a": 1}}\n\ndata: {"choices": [7]}\n\ndata: {}\n\n'
    weaving = Weaving(stream(event("a") + odd + DONE))
    assert await weaving.run() is None
    assert choices_of([chunk for chunk in weaving.chunks if chunk["choices"] != [7]], 1)


async def test_a_bug_in_one_ends_a_stream_that_has_begun_with_an_error_event() -> None:
    class Buggy(FakeAdmission):
        asked = 0

        async def reserve(self, job: Any, target: Target) -> None:
            self.asked += 1
            if self.asked > 1:
                await until(lambda: weaving.bench.sink.writes)
                raise RuntimeError("a bug")

    weaving = Weaving(stream(event("a"), hang=True), admission=Buggy())
    with pytest.raises(RuntimeError, match="a bug"):
        await weaving.run()
    assert weaving.error["code"] == "internal_error"
    assert weaving.job.broken.code == "internal_error"


async def test_a_client_that_goes_stops_all_and_what_has_come_is_accounted() -> None:
    weaving = Weaving(stream(event("word " * 40), event("word " * 40), hang=True), stream(hang=True))
    running = asyncio.ensure_future(weaving.run())
    await until(lambda: weaving.bench.sink.writes and len(weaving.line.sent) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(connection.aborted for connection in weaving.connections)
    one, two = weaving.job.outcomes
    assert (one.code, two.code) == ("client_gone", "client_gone")
    assert (one.sent, two.sent) == (True, True)
    assert one.streamed_tokens > two.streamed_tokens == 0
    assert weaving.bench.sink.flow is None


async def test_a_slow_client_slows_all_also_one_that_begins_later() -> None:
    weaving = Weaving(stream(hang=True), n=3)
    running = asyncio.ensure_future(weaving.run())
    await until(lambda: len(weaving.line.sent) == 3)
    await asyncio.sleep(0)  # for the heads
    one, two, three = weaving.connections
    one.more(event("a"))
    two.more(event("b"))
    flow = weaving.bench.sink.flow
    flow.pause_reading()
    assert [connection.pauses for connection in weaving.connections] == [1, 1, 0]
    three.more(event("c"))
    assert three.pauses == 1
    flow.resume_reading()
    one.more(usage_event() + DONE)
    one.finish()
    flow.pause_reading()
    flow.resume_reading()
    assert [connection.pauses for connection in weaving.connections] == [1, 2, 2]
    for connection in (two, three):
        connection.more(usage_event() + DONE)
    assert await running is None


async def test_who_watches_the_stream_sees_what_leaves_and_may_end_it() -> None:
    seen: list[bytes] = []

    def watch(data: bytes) -> None:
        if b"bad" in data:
            raise GatewayError("content_policy_violation", "No.")
        seen.append(data)

    weaving = Weaving(stream(event("good") + usage_event() + DONE))
    weaving.job.chunk_watcher = watch
    await weaving.run()
    assert b"".join(seen) + DONE == weaving.bench.sink.body
    weaving = Weaving(stream(event("good"), hang=True), stream(event("good"), event("bad"), hang=True))
    weaving.job.chunk_watcher = watch
    assert await weaving.run() is None
    assert weaving.error["code"] == "content_policy_violation"
    assert b"bad" not in weaving.bench.sink.body


async def test_an_answer_that_is_no_stream_fails() -> None:
    failed = await Weaving(whole()).run()
    assert isinstance(failed, GatewayError)
    assert failed.code == "upstream_bad_answer"


async def test_connections_are_given_back_only_after_a_whole_answer() -> None:
    weaving = Weaving(stream(event("a") + usage_event() + DONE, lingers=True), stream(event("b") + DONE))
    assert await weaving.run() is None
    lingering: FakeConnection
    lingering, ended = weaving.connections
    assert not lingering.aborted
    assert ended.over
    lingering.finish()
    assert not lingering.misuses
