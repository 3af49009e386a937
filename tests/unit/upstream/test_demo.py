"""The demo provider: deterministic, in OpenAI's shape, through the same dispatch as a real one."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode
from typing import Any

import orjson
import pytest

from gateway.upstream.demo import DemoLine
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai import COMPLETIONS, EMBEDDINGS
from gateway.wire.sse import event_data, split_events
from tests.unit.upstream.fakes import Bench, FakeJob, target


def _job(endpoint: Endpoint | None = None, **fields: Any) -> FakeJob:
    line: Any = DemoLine()
    job = FakeJob([target(line, model="demo")], asked="demo", streamed=bool(fields.pop("stream", False)), **fields)
    if endpoint is not None:
        job.endpoint = endpoint
        del job.document["messages"]
        job.body = orjson.dumps(job.document)
    return job


def _chunks(bench: Bench) -> list[Any]:
    payloads = [event_data(event) for event in split_events(bench.sink.body)]
    return [orjson.loads(payload) for payload in payloads if payload and payload != b"[DONE]"]


async def test_it_says_what_it_is_and_what_it_was_told() -> None:
    answers = [orjson.loads((await Bench().run(_job())).body) for _ in range(2)]
    text = answers[0]["choices"][0]["message"]["content"]
    assert "demo" in text
    assert "hello" in text
    assert answers[0]["id"] == answers[1]["id"]
    assert answers[0]["usage"]["completion_tokens"] == len(text.split(" "))


async def test_its_stream_says_the_same_and_ends_in_done() -> None:
    whole = orjson.loads((await Bench().run(_job())).body)
    bench = Bench()
    assert await bench.run(_job(stream=True)) is None
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in _chunks(bench))
    assert text == whole["choices"][0]["message"]["content"]
    assert bench.sink.body.endswith(b"data: [DONE]\n\n")
    usage = bench.admission.closed[0].usage
    assert usage is not None
    assert usage.completion == whole["usage"]["completion_tokens"]
    bench.admission.check()


async def test_its_stream_waits_for_a_slow_client() -> None:
    bench = Bench()
    job = _job(stream=True)
    flows: list[Any] = []
    bench.sink.attach = lambda flow: flows.append(flow) or (flow and flow.pause_reading())  # type: ignore[method-assign,func-returns-value]
    task = asyncio.ensure_future(bench.run(job))
    while not flows:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(bench.sink.writes) == 1
    flows[0].resume_reading()
    assert await task is None
    assert bench.sink.ended


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_it_keeps_to_the_limit(limit: str) -> None:
    answer = orjson.loads((await Bench().run(_job(**{limit: 3}))).body)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


async def test_completions_have_text() -> None:
    answer = orjson.loads((await Bench().run(_job(COMPLETIONS, prompt="good day"))).body)
    assert "good day" in answer["choices"][0]["text"]


async def test_equal_texts_have_equal_unit_vectors_in_both_encodings() -> None:
    floats = orjson.loads((await Bench().run(_job(EMBEDDINGS, input=["a", "a", "b"], dimensions=8))).body)["data"]
    vectors = [item["embedding"] for item in floats]
    assert vectors[0] == vectors[1] != vectors[2]
    assert abs(sum(value * value for value in vectors[0]) - 1) < 1e-9
    packed = orjson.loads(
        (await Bench().run(_job(EMBEDDINGS, input="a", dimensions=8, encoding_format="base64"))).body
    )["data"][0]["embedding"]
    assert struct.unpack("<8f", b64decode(packed)) == pytest.approx(vectors[0], abs=1e-6)


@pytest.mark.parametrize("depth", [0, 300, 990])
@pytest.mark.parametrize("odd", [[1, 2], [[1], [2]], {"a": [None]}, "", 5])
async def test_no_odd_request_breaks_it(odd: Any, depth: int) -> None:
    value = b"[" * depth + orjson.dumps(odd) + b"]" * depth
    for endpoint, fields in (
        (None, b'"messages":[{"role":"user","content":%b},{"role":"tool"}]' % value),
        (COMPLETIONS, b'"prompt":%b' % value),
        (EMBEDDINGS, b'"input":%b' % value),
    ):
        job = _job(endpoint)
        job.body = b'{"model":"demo","max_tokens":-1,%b}' % fields
        job.document = orjson.loads(job.body)
        assert (await Bench().run(job)).status == 200
