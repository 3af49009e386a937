"""Dispatch: what is tried again and where, and that every attempt's account is closed exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import FAILURES, Again, GatewayError
from gateway.upstream.health import CLOSED, HALF_OPEN, OPEN, BreakerOptions
from gateway.upstream.job import Reply
from gateway.wire.openai import Variations
from tests.unit.upstream.fakes import (
    DONE,
    JSON,
    Bench,
    Clock,
    FakeAdmission,
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

CONTEXT = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
POLICY = {"error": {"message": "no", "type": "invalid_request_error", "code": "content_policy_violation"}}


async def test_a_whole_answer_passes_with_its_bytes_and_usage() -> None:
    line = FakeLine(whole())
    bench = Bench()
    job = FakeJob([target(line)])
    reply = await bench.run(job)
    assert isinstance(reply, Reply)
    assert reply.body == whole().reads[0]
    assert reply.headers == JSON
    bench.admission.check()
    outcome = bench.admission.closed[0]
    assert (outcome.code, outcome.status, outcome.sent, outcome.billable) == ("ok", 200, True, True)
    assert outcome.usage is not None
    assert (outcome.usage.prompt, outcome.usage.completion) == (7, 3)
    assert line.sent[0][1] == job.body


async def test_an_answer_without_usage_is_estimated_from_what_it_says() -> None:
    bench = Bench()
    await bench.run(FakeJob([target(FakeLine(whole("x" * 400, usage={})))]))
    outcome = bench.admission.closed[0]
    assert outcome.usage is None
    assert 100 <= outcome.streamed_tokens <= 105


async def test_a_server_error_is_tried_again_at_the_same_target_then_at_the_next() -> None:
    first, second = FakeLine(fails(500)), FakeLine(whole())
    bench = Bench(attempts=3)
    job = FakeJob([target(first), target(second, "q")])
    assert isinstance(await bench.run(job), Reply)
    assert (len(first.sent), len(second.sent)) == (3, 1)
    assert [outcome.final for outcome in bench.admission.closed] == [False, False, False, True]
    assert bench.watcher.retries == ["upstream_5xx", "upstream_5xx"]
    assert bench.watcher.fallbacks == ["upstream_5xx"]
    bench.admission.check()


async def test_when_all_attempts_are_used_up_the_client_is_told_not_to_try_again() -> None:
    bench = Bench(attempts=2)
    error = await bench.run(FakeJob([target(FakeLine(fails(503)))]))
    assert error.code == "upstream_overloaded"
    assert error.should_retry is False
    bench.admission.check()


async def test_other_client_errors_come_back_as_they_are_after_one_attempt() -> None:
    document = {"error": {"message": "bad tools", "type": "invalid_request_error", "param": "tools", "code": None}}
    line = FakeLine(fails(422, document))
    bench = Bench()
    error = await bench.run(FakeJob([target(line), target(FakeLine(whole()), "q")]))
    assert (error.code, error.status) == ("upstream_4xx", 422)
    assert error.body("id") == fails(422, document).reads[0]
    assert len(line.sent) == 1
    bench.admission.check()


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_a_502_without_the_providers_text(status: int) -> None:
    document = {"error": {"message": "Incorrect API key provided: sk-abc123", "code": "invalid_api_key"}}
    bench = Bench()
    error = await bench.run(FakeJob([target(FakeLine(fails(status, document)))]))
    assert (error.code, error.status) == ("upstream_auth", 502)
    assert b"abc123" not in error.body("id")
    assert b"Incorrect" not in error.body("id")


async def test_a_long_prompt_goes_to_the_models_named_for_it() -> None:
    bench = Bench()
    larger = FakeLine(whole())
    skipped = FakeLine(whole())
    job = FakeJob([target(FakeLine(fails(400, CONTEXT))), target(skipped, "q")])
    job.context_fallbacks = [target(larger, "r", "large")]
    job.policy_fallbacks = [target(skipped, "s")]
    assert isinstance(await bench.run(job), Reply)
    assert len(larger.sent) == 1
    assert not skipped.sent
    assert bench.watcher.fallbacks == ["context_length_exceeded"]
    bench.admission.check()


async def test_a_policy_refusal_goes_to_the_models_named_for_it() -> None:
    bench = Bench()
    other = FakeLine(whole())
    job = FakeJob([target(FakeLine(fails(400, POLICY)))])
    job.policy_fallbacks = [target(other, "r")]
    assert isinstance(await bench.run(job), Reply)
    assert len(other.sent) == 1


async def test_where_no_fallback_is_healthy_the_refusal_itself_comes_back() -> None:
    bench = Bench()
    ill = target(FakeLine(whole()), "r", breaker=BreakerOptions(consecutive_failures=1))
    ill.breaker.fail(ill.breaker.allow())
    job = FakeJob([target(FakeLine(fails(400, CONTEXT)))])
    job.context_fallbacks = [ill]
    error = await bench.run(job)
    assert error.code == "context_length_exceeded"
    bench.admission.check()


async def test_a_retry_after_that_is_too_long_moves_on_and_leaves_waiting_to_the_client() -> None:
    limited = FakeLine(fails(429, headers=[(b"retry-after", b"30")]))
    bench = Bench()
    error = await bench.run(FakeJob([target(limited)]))
    assert (error.code, error.retry_after_s, error.should_retry) == ("upstream_429", 30.0, None)
    assert len(limited.sent) == 1
    second = FakeLine(whole())
    bench = Bench()
    assert isinstance(await bench.run(FakeJob([target(limited), target(second, "q")])), Reply)
    assert len(limited.sent) == 2
    assert len(second.sent) == 1


async def test_a_short_retry_after_is_waited_for_where_there_is_no_other_target() -> None:
    line = FakeLine(fails(429, headers=[(b"retry-after-ms", b"40")]), whole())
    bench = Bench(max_delay_s=1.0)
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert isinstance(await bench.run(FakeJob([target(line)])), Reply)
    assert loop.time() - before >= 0.04


async def test_nothing_is_tried_again_past_the_deadline() -> None:
    line = FakeLine(fails(500, headers=[(b"retry-after-ms", b"900")]))
    bench = Bench(max_delay_s=5.0)
    limits = target(line).limits.__class__(connect_s=1, first_byte_s=1, idle_s=1, total_s=0.5)
    error = await bench.run(FakeJob([target(line, limits=limits)]))
    assert error.code == "upstream_5xx"
    assert len(line.sent) == 1


async def test_the_retry_budget_bounds_second_tries_but_not_other_targets() -> None:
    bench = Bench(attempts=5, budget_min=2, budget_share=0.0)
    first, second = FakeLine(fails(500)), FakeLine(whole())
    ill = target(first, breaker=BreakerOptions(consecutive_failures=100))
    assert isinstance(await bench.run(FakeJob([ill, target(second, "q")])), Reply)
    assert len(first.sent) == 3
    assert bench.watcher.exhausted == 1
    assert isinstance(await bench.run(FakeJob([ill, target(second, "q")])), Reply)
    assert len(first.sent) == 4
    assert len(second.sent) == 2


async def test_a_connection_seen_dead_before_the_write_costs_neither_budget_nor_breaker() -> None:
    line = FakeLine(*[Script(error="upstream_reset_before_write", before_head=True)] * 2, whole())
    bench = Bench(budget_min=0, budget_share=0.0)
    healthy = target(line, breaker=BreakerOptions(consecutive_failures=1))
    assert isinstance(await bench.run(FakeJob([healthy])), Reply)
    assert healthy.breaker.state == CLOSED
    assert [outcome.sent for outcome in bench.admission.closed] == [False, False, True]
    bench.admission.check()


async def test_a_retry_that_is_not_admitted_leaves_the_attempt_before_it_final() -> None:
    admission = FakeAdmission({2: GatewayError("journal_unavailable", "full")})
    bench = Bench(admission)
    ill = target(FakeLine(fails(500)))
    error = await bench.run(FakeJob([ill]))
    assert error.code == "journal_unavailable"
    admission.check()
    assert [outcome.code for outcome in admission.closed] == ["upstream_5xx"]


async def test_an_open_breaker_is_passed_over_and_named_when_there_is_nothing_else() -> None:
    clock = Clock()
    ill = target(FakeLine(fails(500)), clock=clock, breaker=BreakerOptions(consecutive_failures=1, open_s=10))
    bench = Bench(attempts=1)
    await bench.run(FakeJob([ill]))
    assert ill.breaker.state == OPEN
    error = await bench.run(FakeJob([ill]))
    assert (error.code, error.status) == ("no_target_available", 503)
    assert error.retry_after_s == 10.0


def _half_open(line: FakeLine, **more: Any) -> Any:
    clock = Clock()
    ill = target(line, clock=clock, breaker=BreakerOptions(consecutive_failures=1, open_s=10), **more)
    ill.breaker.fail(ill.breaker.allow())
    clock.now += 11
    return ill


async def test_a_probe_that_is_not_admitted_gives_its_place_back() -> None:
    ill = _half_open(FakeLine(whole()))
    bench = Bench(FakeAdmission({1: GatewayError("journal_unavailable", "full")}))
    await bench.run(FakeJob([ill]))
    assert ill.breaker.state == HALF_OPEN
    assert not ill.breaker.refuses()


async def test_a_probe_whose_request_cannot_be_encoded_gives_its_place_back() -> None:
    ill = _half_open(FakeLine(whole()), variations=Variations(unsupported=frozenset({"logprobs"})))
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    job = FakeJob([ill], logprobs=True)
    job.document["metadata"] = deep
    error = await Bench().run(job)
    assert error.code == "invalid_json"
    assert not ill.breaker.refuses()


@pytest.mark.parametrize("moment", ["connecting", "waiting", "pausing"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_closes_the_account_once_and_frees_the_probe(moment: str, streamed: bool) -> None:
    script = {
        "connecting": Script(hang=True, before_head=True),
        "waiting": Script(hang=True, before_head=True),
        "pausing": fails(500),
    }[moment]
    ill = _half_open(FakeLine(script)) if moment != "pausing" else target(FakeLine(script))
    bench = Bench(base_delay_s=100.0, max_delay_s=100.0)
    job = FakeJob([ill], streamed=streamed)
    task = asyncio.ensure_future(bench.dispatch.run(job, bench.sink))
    for _ in range(2 if moment == "connecting" else 8):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.admission.check()
    assert not ill.breaker.refuses()
    codes = [outcome.code for outcome in bench.admission.closed]
    assert codes == ([] if not codes else ["upstream_5xx" if moment == "pausing" else "client_gone"])
    if moment == "waiting":
        assert codes == ["client_gone"]
        assert ill.line.connections[0].aborted


async def test_an_answer_that_was_whole_when_the_client_left_is_metered_by_its_own_usage() -> None:
    line = FakeLine(whole())
    bench = Bench()
    task = asyncio.ensure_future(bench.dispatch.run(FakeJob([target(line)]), bench.sink))
    while not line.connections or not line.connections[0].over:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    outcome = bench.admission.closed[0]
    if task.cancelled():
        assert outcome.code == "client_gone"
    assert outcome.usage is not None
    assert outcome.usage.completion == 3
    assert not line.connections[0].misuses
    bench.admission.check()


async def test_the_account_of_a_stream_is_closed_before_done_leaves() -> None:
    line = FakeLine(stream(event(), usage_event() + DONE))
    bench = Bench()
    assert await bench.run(FakeJob([target(line)], streamed=True)) is None
    assert bench.sink.writes == [event(), DONE]
    assert bench.sink.closed_at == [0, 1]
    assert bench.sink.ended
    bench.admission.check()
    usage = bench.admission.closed[0].usage
    assert usage is not None
    assert usage.prompt == 7
    assert not line.connections[0].misuses


async def test_a_stream_that_fails_before_its_first_event_is_replaced_unseen() -> None:
    for bad in (
        stream(b": hold on\n\n", error="upstream_truncated"),
        stream(),
        stream(b'data: {"error":{"message":"overloaded","code":503}}\n\n', hang=True),
        stream(b"data: not json\n\n", hang=True),
        stream(event() + b'data: {"error":"died"}\n\n', hang=True),
        fails(500),
        Script(headers=[(b"content-type", b"text/html")], reads=[b"<html>"]),
        Script(headers=[(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")], reads=[b"\x1f\n\n"]),
        whole(),
    ):
        bench = Bench(attempts=1)
        good = FakeLine(stream(event(), DONE))
        line = FakeLine(bad)
        assert await bench.run(FakeJob([target(line), target(good, "q")], streamed=True)) is None, bad
        assert bench.sink.body == event() + DONE
        assert [outcome.final for outcome in bench.admission.closed] == [False, True]
        assert not line.connections[0].misuses
        bench.admission.check()


async def test_a_stream_that_fails_later_ends_in_an_error_event_and_is_not_tried_again() -> None:
    for script, code in (
        (stream(event(), error="upstream_truncated"), "upstream_truncated"),
        (stream(event()), "upstream_truncated"),
        (stream(event(), b'data: {"error":{"message":"tool","status_code":400}}\n\n', hang=True), "upstream_4xx"),
        (stream(event(), error="upstream_idle_timeout"), "upstream_idle_timeout"),
    ):
        bench = Bench()
        line, second = FakeLine(script), FakeLine(whole())
        job = FakeJob([target(line), target(second, "q")], streamed=True)
        result = await bench.run(job)
        assert result is None
        assert not second.sent
        assert job.broken is not None
        assert job.broken.code == code
        assert bench.sink.writes[0] == event()
        assert bench.sink.writes[-1].startswith(b'data: {"error":')
        assert job.request_id.encode() in bench.sink.writes[-1]
        assert b"[DONE]" not in bench.sink.body
        assert bench.sink.closed_at[-1] == 1
        assert bench.admission.closed[0].billable
        assert not line.connections[0].misuses
        bench.admission.check()


async def test_text_before_an_error_in_the_same_read_still_reaches_a_client_that_has_begun_to_read() -> None:
    bench = Bench()
    reads = event("a"), event("b") + b'data: {"error":{"message":"died"}}\n\n'
    await bench.run(FakeJob([target(FakeLine(stream(*reads, hang=True)))], streamed=True))
    assert bench.sink.writes[:2] == [event("a"), event("b")]


async def test_a_connection_that_lingers_after_done_is_dropped_later_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.upstream.attempt._AFTER_DONE_S", 0.02)
    line = FakeLine(stream(event(), DONE, b"data: surplus\n\n", lingers=True))
    bench = Bench()
    assert await bench.run(FakeJob([target(line)], streamed=True)) is None
    assert bench.sink.body == event() + DONE
    assert not line.connections[0].aborted
    await asyncio.sleep(0.1)
    assert line.connections[0].aborted
    bench.admission.check()


async def test_a_connection_that_ends_in_time_after_done_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.attempt._AFTER_DONE_S", 0.02)
    line = FakeLine(stream(event(), DONE, lingers=True))
    await Bench().run(FakeJob([target(line)], streamed=True))
    line.connections[0].finish()
    await asyncio.sleep(0.1)
    assert not line.connections[0].aborted
    assert not line.connections[0].misuses


async def test_a_client_that_leaves_a_stream_stops_the_upstream_and_is_metered_by_estimate() -> None:
    line = FakeLine(stream(*[event(f"word{n} ") for n in range(20)], hang=True))
    bench = Bench()
    task = asyncio.ensure_future(bench.dispatch.run(FakeJob([target(line)], streamed=True), bench.sink))
    while len(bench.sink.writes) < 20:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    connection = line.connections[0]
    assert connection.aborted
    connection.more(event("late"))
    assert len(bench.sink.writes) == 20
    outcome = bench.admission.closed[0]
    assert (outcome.code, outcome.status, outcome.usage) == ("client_gone", 499, None)
    assert 15 <= outcome.streamed_tokens <= 60
    bench.admission.check()


async def test_a_stage_that_refuses_a_chunk_ends_the_stream_before_it_leaves() -> None:
    line = FakeLine(stream(event("good"), event("secret"), DONE))
    bench = Bench()
    job = FakeJob([target(line)], streamed=True)

    def look(data: bytes) -> None:
        if b"secret" in data:
            raise GatewayError("invalid_request", "not that")

    job.chunk_watcher = look
    assert await bench.run(job) is None
    assert b"secret" not in bench.sink.body
    assert b"not that" in bench.sink.body
    assert line.connections[0].aborted
    bench.admission.check()


async def test_a_probe_closes_its_breaker_with_the_first_event_of_its_stream() -> None:
    line = FakeLine(stream(event(), lingers=True))
    ill = _half_open(line)
    bench = Bench()
    task = asyncio.ensure_future(bench.run(FakeJob([ill], streamed=True)))
    while not bench.sink.writes:
        await asyncio.sleep(0)
    assert ill.breaker.state == CLOSED
    line.connections[0].more(DONE)
    await task
    assert ill.breaker.state == CLOSED


def _script_for(code: str) -> Script | None:
    """An upstream that makes an attempt fail with `code`; None where dispatch cannot meet it."""
    statuses = {
        "upstream_408": fails(408),
        "upstream_409": fails(409),
        "upstream_429": fails(429),
        "upstream_quota": fails(429, {"error": {"message": "m", "code": "insufficient_quota"}}),
        "upstream_auth": fails(401),
        "upstream_4xx": fails(404),
        "upstream_5xx": fails(500),
        "upstream_overloaded": fails(529),
        "context_length_exceeded": fails(400, CONTEXT),
        "content_policy_violation": fails(400, POLICY),
        "upstream_bad_answer": Script(reads=[b"<html>"]),
    }
    if code in statuses:
        return statuses[code]
    if code in ("upstream_connect_failed", "upstream_connect_timeout", "upstream_tls_failed", "upstream_proxy_failed"):
        return Script(connect_error=code)
    if code.startswith("upstream_"):
        return Script(error=code, before_head=code not in ("upstream_truncated", "upstream_idle_timeout"))
    return None


@pytest.mark.parametrize("code", [code for code in FAILURES if _script_for(code) is not None])
async def test_every_failure_is_sent_billed_and_tried_again_as_its_row_says(code: str) -> None:
    failure = FAILURES[code]
    script = _script_for(code)
    assert script is not None
    first, second = FakeLine(script), FakeLine(whole())
    bench = Bench(attempts=2, budget_min=100)
    result = await bench.run(FakeJob([target(first), target(second, "q")]))
    outcome = bench.admission.closed[0]
    assert outcome.code == code
    assert outcome.sent is (failure.sent.value != "no")
    assert outcome.billable is failure.billable
    tries = len([outcome for outcome in bench.admission.closed if outcome.target.provider == "p"])
    if code == "upstream_reset_before_write":
        assert tries == 5  # three for nothing, two that count
    else:
        assert tries == (2 if failure.again is Again.SAME else 1)
    if failure.again in (Again.SAME, Again.NEXT):
        assert isinstance(result, Reply)
        assert len(second.sent) == 1
    else:
        assert isinstance(result, GatewayError)
        assert not second.sent
    bench.admission.check()
