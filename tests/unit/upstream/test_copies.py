"""Several answers from a provider that gives one at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.upstream.copies import MAX_COPIES, copies_of, run_copies
from gateway.upstream.job import Outcome, Reply
from gateway.upstream.target import Manner
from gateway.wire.dialects import find_dialect
from gateway.wire.endpoints import MESSAGES
from tests.unit.upstream.fakes import FakeJob, FakeLine, target, whole

ANSWER = {
    "id": "a",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
}


def job(dialect: str | None, *, streamed: bool = False, **fields: Any) -> FakeJob:
    manner = Manner() if dialect is None else Manner(dialect=find_dialect(dialect))
    made = FakeJob([target(FakeLine(whole()), manner=manner)], streamed=streamed, **fields)
    made.cost_nano_usd = -1
    return made


@pytest.mark.shows("anthropic", "n")
@pytest.mark.shows("cohere", "n")
@pytest.mark.shows("bedrock", "n")
@pytest.mark.shows("ollama", "n")
@pytest.mark.shows("ai21", "n")
@pytest.mark.shows("huggingface", "n")
def test_a_provider_that_answers_once_is_asked_as_often_as_answers_are_wanted() -> None:
    for name in ("anthropic", "cohere", "bedrock", "ollama", "ai21", "huggingface"):
        assert copies_of(job(name, n=3)) == 3
        assert copies_of(job(name, n=1)) == 1
    for name in (None, "gemini", "vertex"):
        assert copies_of(job(name, n=3)) == 1


def test_too_many_are_refused_by_name_streamed_or_not() -> None:
    for streamed in (False, True):
        assert copies_of(job("anthropic", n=MAX_COPIES, streamed=streamed)) == MAX_COPIES
        with pytest.raises(GatewayError) as caught:
            copies_of(job("anthropic", n=MAX_COPIES + 1, streamed=streamed))
        assert (caught.value.code, caught.value.param) == ("invalid_field", "n")


def test_what_another_api_means_by_n_is_for_its_own_dialect_to_say() -> None:
    made = job("anthropic", n=2)
    made.endpoint = MESSAGES
    assert copies_of(made) == 1


async def test_the_answers_become_one_with_all_their_choices_and_usage() -> None:
    made = job("anthropic", n=3)

    async def run(twin: Any, number: int) -> Reply:
        assert orjson.loads(twin.body)["n"] == 1
        twin.outcomes.append(Outcome(twin.targets[0], number))
        twin.cost_nano_usd = 5
        return Reply(200, orjson.dumps(ANSWER), [])

    reply = await run_copies(3, made, run)
    answer = orjson.loads(reply.body)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"] == {
        "prompt_tokens": 21,
        "completion_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 9},
    }
    assert [outcome.number for outcome in made.outcomes] == [0, 1, 2]
    assert made.cost_nano_usd == 15
    assert made.document["n"] == 3


async def test_a_failure_ends_the_others_and_what_they_cost_is_kept() -> None:
    made = job("anthropic", n=2)
    ended = []

    async def run(twin: Any, number: int) -> Reply:
        twin.cost_nano_usd = 4
        if number == 0:
            raise GatewayError("upstream_429", "slow down")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(number)
            raise
        raise AssertionError

    with pytest.raises(GatewayError) as caught:
        await run_copies(2, made, run)
    assert caught.value.code == "upstream_429"
    assert ended in ([1], [])  # it may not even have begun
    assert made.cost_nano_usd >= 4
