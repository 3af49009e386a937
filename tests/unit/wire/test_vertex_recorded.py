"""Recorded traffic with Vertex AI, replayed; skipped where the recordings are not there."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.wire.usage import Usage
from gateway.wire.vertex import DIALECT
from tests.unit.wire.test_gemini_recorded import ERRORS, ask_for, check_stream, check_whole, reason, sort
from tests.wire_data import body_of, needs_recordings, place, recorded

pytestmark = needs_recordings

ROWS = recorded("vertexai")
SKIPPED = {place(row): why for row in ROWS if (why := reason(row)) is not None}
WHOLE, STREAMS, EMBEDDINGS, FAILED = sort(ROWS)
BLOCKED = [row for row in WHOLE if "promptFeedback" in row["response"]]
ANSWERED = [row for row in WHOLE if row not in BLOCKED]


@pytest.mark.shows("vertex", "chat")
@pytest.mark.shows("vertex", "tools")
@pytest.mark.shows("vertex", "parallel tools")
@pytest.mark.shows("vertex", "logprobs")
@pytest.mark.shows("vertex", "usage")
@pytest.mark.parametrize("row", ANSWERED, ids=place)
def test_a_recorded_answer_says_what_it_said(row: dict[str, Any]) -> None:
    check_whole(DIALECT, row)
    told = row["response"]["candidates"][0].get("logprobsResult")
    if told is None:
        return
    (choice,) = DIALECT.decode(ask_for(row), body_of(row))[0]["choices"]
    content = choice["logprobs"]["content"]
    assert [(item["token"], item["logprob"]) for item in content] == [
        (item["token"], item["logProbability"]) for item in told["chosenCandidates"]
    ]
    assert [[top["token"] for top in item["top_logprobs"]] for item in content if item["top_logprobs"]] == [
        [top["token"] for top in item["candidates"]] for item in told.get("topCandidates", [])
    ]


@pytest.mark.shows("vertex", "streaming")
@pytest.mark.parametrize("row", STREAMS, ids=place)
def test_a_recorded_stream_says_what_it_said_however_it_was_split(row: dict[str, Any]) -> None:
    check_stream(DIALECT, row)


@pytest.mark.shows("vertex", "errors")
@pytest.mark.parametrize("row", BLOCKED, ids=place)
def test_a_recorded_block_of_the_prompt_is_a_refusal_of_its_content(row: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(ask_for(row), body_of(row))
    assert caught.value.code == "content_policy_violation"
    assert caught.value.message == row["response"]["promptFeedback"]["blockReasonMessage"]


@pytest.mark.shows("vertex", "embeddings")
@pytest.mark.parametrize("row", EMBEDDINGS, ids=place)
def test_a_recorded_embedding_keeps_its_numbers(row: dict[str, Any]) -> None:
    answer, usage = DIALECT.decode(ask_for(row, "embeddings"), body_of(row))
    response = row["response"]
    if "embedding" in response:
        values, tokens = response["embedding"]["values"], response["usageMetadata"]["promptTokenCount"]
    else:
        (prediction,) = response["predictions"]
        values = prediction["embeddings"]["values"]
        tokens = prediction["embeddings"]["statistics"]["token_count"]
    assert [item["embedding"] for item in answer["data"]] == [values]
    assert usage == Usage(prompt=tokens)


@pytest.mark.shows("vertex", "errors")
@pytest.mark.parametrize("row", FAILED, ids=place)
def test_a_recorded_error_has_the_right_code(row: dict[str, Any]) -> None:
    error = DIALECT.read_error("vertex", row["status"], body_of(row))
    told = row["response"]["error"]
    assert (error.code, error.status) == (ERRORS[row["status"], told["status"]], row["status"])
    assert error.message == told["message"]


def test_every_recording_is_replayed_or_has_its_reason() -> None:
    assert (len(ANSWERED), len(BLOCKED), len(STREAMS), len(EMBEDDINGS), len(FAILED)) == (66, 1, 6, 2, 5)
    assert len(SKIPPED) == 2
    assert len(ROWS) == 82 == 66 + 1 + 6 + 2 + 5 + len(SKIPPED)
