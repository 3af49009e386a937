"""The recorder tells of many calls at once, and of each exactly once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.server.finished import FinishedRequest
from gateway.server.recorder import Recorder
from gateway.upstream.job import Outcome
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import FakeLine, target, whole


class FakeLog:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[FinishedRequest] = []

    def write(self, record: FinishedRequest) -> None:
        if record.status == 418:
            raise RuntimeError("this one cannot be written")
        self.records.append(record)


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


def ended(recorder: Recorder, status: int = 200) -> Call:
    call = Call(CHAT, {}, b"{}", "127.0.0.1")
    recorder.begun(call)
    call.status = status
    recorder.finished(call)
    return call


def requests(metrics: Metrics, status: int = 200) -> float:
    return metrics.requests.child("chat", "", "", str(status)).value


async def test_calls_are_told_of_together_and_once(log: FakeLog) -> None:
    metrics = Metrics.in_memory()
    recorder = Recorder(metrics, log)  # type: ignore[arg-type]
    calls = [ended(recorder) for _ in range(3)]
    assert log.records == []
    while len(log.records) < 3:
        await asyncio.sleep(0.001)
    assert [record.request_id for record in log.records] == [call.request_id for call in calls]
    recorder.tell()
    assert requests(metrics) == 3
    assert len(log.records) == 3


async def test_a_scrape_sees_the_calls_that_have_just_ended(log: FakeLog) -> None:
    metrics = Metrics.in_memory()
    recorder = Recorder(metrics, log)  # type: ignore[arg-type]
    ended(recorder)
    assert requests(metrics) == 0
    metrics.refresh()
    assert requests(metrics) == 1


async def test_under_load_nothing_waits_for_the_clock(log: FakeLog) -> None:
    recorder = Recorder(Metrics.in_memory(), log)  # type: ignore[arg-type]
    for _ in range(64):
        ended(recorder)
    assert len(log.records) == 64


async def test_a_call_that_cannot_be_told_of_does_not_take_the_others_along(log: FakeLog) -> None:
    recorder = Recorder(Metrics.in_memory(), log)  # type: ignore[arg-type]
    ended(recorder)
    ended(recorder, status=418)
    ended(recorder)
    recorder.tell()
    assert [record.status for record in log.records] == [200, 200]


async def test_what_is_large_is_let_go_at_once(log: FakeLog) -> None:
    recorder = Recorder(Metrics.in_memory(), log)  # type: ignore[arg-type]
    call = ended(recorder)
    assert call.body == b""
    assert not call.document


@pytest.mark.parametrize(("waited", "figures"), [(False, (1, 0)), (True, (0, 1)), (None, (0, 0))])
async def test_requests_that_touch_no_store_before_they_leave_are_counted(
    log: FakeLog, waited: bool | None, figures: tuple[int, int]
) -> None:
    metrics = Metrics.in_memory()
    recorder = Recorder(metrics, log)  # type: ignore[arg-type]
    refused, sent = (Call(CHAT, {}, b"{}", "127.0.0.1") for _ in range(2))
    sent.outcomes.append(Outcome(target(FakeLine(whole())), 1))
    for call in (refused, sent):
        call.waited = waited
        recorder.begun(call)
        recorder.finished(call)
    recorder.tell()
    assert (metrics.store_waits.child("no").value, metrics.store_waits.child("yes").value) == figures
