"""Calls that go on to their end although their client has gone, where the provider is configured so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.upstream.attempt import WholeAnswer
from gateway.upstream.job import CLIENT_GONE
from gateway.upstream.target import Manner, Target
from gateway.wire.openai import Variations
from tests.unit.upstream.fakes import DONE, Bench, FakeJob, FakeLine, Script, event, fails, stream, target, usage_event
from tests.unit.upstream.fakes import whole as whole_script

ANSWER = whole_script().reads[0]
# A provider that gives one answer at a time.
ONE_ANSWER = Manner(variations=Variations(unsupported=frozenset({"n"})))


def finishing(line: FakeLine, name: str = "p", **more: Any) -> Target:
    """A target whose provider is heard to the end."""
    made = target(line, name, **more)
    made.account.finishes = True
    return made


async def sent(line: FakeLine, count: int = 1) -> None:
    """Return when so many requests have reached the upstream."""
    async with asyncio.timeout(10):
        while len(line.sent) < count:
            await asyncio.sleep(0)
    await asyncio.sleep(0)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Leaving:
    """A request whose client goes; `bench` has what became of it."""

    def __init__(self, *targets: Target, **fields: Any) -> None:
        self.bench = Bench(**fields.pop("options", {}))
        self.job = FakeJob(targets, **fields)
        self.task = asyncio.ensure_future(self.bench.dispatch.run(self.job, self.bench.sink))

    async def goes(self) -> None:
        self.task.cancel(CLIENT_GONE)
        await turns()

    async def ends(self) -> None:
        """The task ends as that of a client that has gone, whatever came of the call."""
        async with asyncio.timeout(10):
            await asyncio.wait((self.task,))
        assert self.task.cancelled()
        self.bench.admission.check()


async def test_a_whole_answer_is_waited_for_and_its_usage_is_the_account() -> None:
    line = FakeLine(Script(hang=True))
    call = Leaving(finishing(line))
    await sent(line)
    await call.goes()
    assert not call.task.done()
    (connection,) = line.connections
    connection.more(ANSWER)
    connection.finish()
    await call.ends()
    (outcome,) = call.bench.admission.closed
    assert (outcome.code, outcome.status) == ("ok", 200)
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion) == (7, 3)
    assert not connection.aborted
    assert not connection.misuses


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_is_read_to_its_end_and_nothing_more_is_written(begun: bool) -> None:
    line = FakeLine(stream(*([event("a")] if begun else []), hang=True))
    call = Leaving(finishing(line), streamed=True)
    seen: list[bytes] = []
    call.job.chunk_watcher = seen.append
    await sent(line)
    await call.goes()
    assert not call.task.done()
    assert call.bench.sink.flow is None
    (connection,) = line.connections
    connection.more(event("b") + usage_event(prompt=11, completion=5) + DONE)
    connection.finish()
    await call.ends()
    assert call.bench.sink.writes == seen == ([event("a")] if begun else [])
    assert not call.bench.sink.ended
    (outcome,) = call.bench.admission.closed
    assert outcome.code == "ok"
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion) == (11, 5)
    assert not connection.aborted
    assert not connection.misuses


async def test_an_upstream_that_was_slowed_for_the_client_goes_on() -> None:
    line = FakeLine(stream(event("a"), hang=True))
    call = Leaving(finishing(line), streamed=True)
    await sent(line)
    resumed: list[str] = []
    (connection,) = line.connections
    connection.resume_reading = lambda: resumed.append("resumed")  # type: ignore[method-assign]
    call.bench.sink.flow.pause_reading()
    await call.goes()
    assert resumed
    connection.more(DONE)
    connection.finish()
    await call.ends()


async def test_a_client_that_goes_as_the_answer_ends_changes_nothing() -> None:
    line = FakeLine(Script(hang=True))
    call = Leaving(finishing(line))
    await sent(line)
    (connection,) = line.connections
    connection.more(ANSWER)
    call.task.cancel(CLIENT_GONE)
    connection.finish()
    await call.ends()
    (outcome,) = call.bench.admission.closed
    assert outcome.code == "ok"
    assert outcome.usage is not None


async def test_a_call_that_fails_unheard_is_accounted_and_not_tried_again() -> None:
    line, other = FakeLine(Script(hang=True, error="upstream_idle_timeout")), FakeLine(whole_script())
    call = Leaving(finishing(line), finishing(other, "q"), options={"attempts": 3})
    await sent(line)
    await call.goes()
    line.connections[0].finish()
    await call.ends()
    assert (len(line.sent), other.sent) == (1, [])
    (outcome,) = call.bench.admission.closed
    assert outcome.code == "upstream_idle_timeout"


async def test_a_stream_that_breaks_unheard_is_accounted_by_what_came() -> None:
    line = FakeLine(stream(event("a"), hang=True, error="upstream_truncated"))
    call = Leaving(finishing(line), streamed=True)
    await sent(line)
    await call.goes()
    line.connections[0].more(event("word " * 100))
    line.connections[0].finish()
    await call.ends()
    (outcome,) = call.bench.admission.closed
    assert (outcome.code, outcome.usage, outcome.billable) == ("upstream_truncated", None, True)
    assert outcome.streamed_tokens > 50
    assert call.bench.sink.writes == [event("a")]


@pytest.mark.parametrize("streamed", [False, True])
async def test_other_providers_calls_are_cancelled_at_once(streamed: bool) -> None:
    line = FakeLine(Script(hang=True))
    call = Leaving(target(line), streamed=streamed)
    await sent(line)
    await call.goes()
    await call.ends()
    assert line.connections[0].aborted
    assert call.bench.admission.closed[0].code == "client_gone"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_gateway_that_ends_cancels_what_goes_on(streamed: bool) -> None:
    line = FakeLine(stream(event("a"), hang=True) if streamed else Script(hang=True))
    call = Leaving(finishing(line), streamed=streamed)
    await sent(line)
    await call.goes()
    assert not call.task.done()
    call.task.cancel()
    await call.ends()
    assert line.connections[0].aborted
    assert call.bench.admission.closed[0].code == "client_gone"


async def test_any_other_cancellation_is_for_good() -> None:
    line = FakeLine(Script(hang=True))
    call = Leaving(finishing(line))
    await sent(line)
    call.task.cancel()
    await call.ends()
    assert line.connections[0].aborted


async def test_a_client_that_goes_while_a_second_try_is_waited_for_ends_the_call() -> None:
    line = FakeLine(fails(500), whole_script())
    call = Leaving(finishing(line), options={"base_delay_s": 30.0, "max_delay_s": 60.0})
    await sent(line)
    await turns()
    await call.goes()
    await call.ends()
    assert len(line.sent) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_all_of_several_answers_are_waited_for(streamed: bool) -> None:
    line = FakeLine(stream(event("a"), hang=True) if streamed else Script(hang=True))
    call = Leaving(finishing(line, manner=ONE_ANSWER), streamed=streamed, n=3)
    call.job.cost_nano_usd = -1  # type: ignore[attr-defined]
    await sent(line, 3)
    await call.goes()
    assert not call.task.done()
    for connection in line.connections:
        connection.more(usage_event() + DONE if streamed else ANSWER)
        connection.finish()
    async with asyncio.timeout(10):
        await asyncio.wait((call.task,))
    assert call.task.cancelled()
    assert [outcome.code for outcome in call.bench.admission.closed] == ["ok"] * 3
    assert [outcome.usage.completion for outcome in call.job.outcomes if outcome.usage] == [3] * 3
    assert not call.bench.admission.open


async def test_one_of_several_answers_that_fails_does_not_wait_for_the_others() -> None:
    line = FakeLine(fails(404), Script(hang=True))
    call = Leaving(finishing(line, manner=ONE_ANSWER), n=2)
    call.job.cost_nano_usd = -1  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        await asyncio.wait((call.task,))
    assert getattr(call.task.exception(), "status", 0) == 404
    assert line.connections[1].aborted


async def test_an_answer_that_was_over_is_not_waited_for_once_more() -> None:
    loop = asyncio.get_running_loop()
    answer = WholeAnswer(loop)
    answer.on_end()
    assert answer.go_unheard(loop).done()
    assert not WholeAnswer(loop).go_unheard(loop).done()
