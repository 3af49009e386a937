"""Streams of typed events."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.openai_events import EventTap, closing_event, replace_response_model


def event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


USAGE = {"input_tokens": 3, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
BEGUN = {"id": "resp_1", "tools": [{"model": "inner"}], "model": "gpt-x", "usage": None}
STREAM = (
    event("response.created", response=BEGUN)
    + event("response.output_text.delta", delta='"model":"gpt-x" \u00e9')
    + event("response.output_text.delta", delta="longer than that one is")
    + event("response.completed", response={**BEGUN, "usage": USAGE})
)


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=30))
def test_any_split_gives_the_same_stream_with_the_alias_in_it(cuts: list[int]) -> None:
    tap = EventTap("alias")
    edges = [0, *sorted(cuts), len(STREAM)]
    out = b"".join(tap.feed(STREAM[start:end]) for start, end in pairwise(edges))
    assert out == STREAM.replace(b'},"model":"gpt-x"', b"}").replace(b'}],"model":"gpt-x"', b'}],"model":"alias"')
    assert tap.done
    assert tap.usage is not None
    assert (tap.usage.prompt, tap.usage.completion, tap.usage.reasoning) == (3, 5, 2)
    assert [response["id"] for response in tap.responses] == ["resp_1", "resp_1"]


def test_what_came_is_estimated_where_no_usage_does() -> None:
    tap = EventTap(None)
    tap.feed(event("response.output_text.delta", delta="a"))
    assert tap.estimate_completion_tokens() == 1
    tap.feed(event("response.output_text.delta", delta="a" * 401))
    assert tap.estimate_completion_tokens() == 100
    assert not tap.done


@pytest.mark.parametrize("kind", ["transcript.text.done", "image_edit.completed", "speech.audio.done"])
def test_other_streams_end_in_an_event_of_their_own(kind: str) -> None:
    tap = EventTap("alias")
    tap.feed(event(kind, usage=USAGE))
    assert tap.done
    assert tap.usage is not None


def test_the_providers_own_error_is_passed_on_without_its_secrets() -> None:
    tap = EventTap(None)
    out = tap.feed(event("error", message="bad key sk-abcdefgh12345678"))
    assert tap.done
    assert tap.failed is not None
    assert b"abcdefgh1234" not in out
    assert out.startswith(b"event: error\n")


def test_what_is_no_json_is_a_bad_answer() -> None:
    with pytest.raises(GatewayError) as raised:
        EventTap(None).feed(b"data: {oops\n\n")
    assert raised.value.code == "upstream_bad_answer"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"response": {"model": "a"}}', b'{"response": {"model": "n"}}'),
        (b'{"type":"response","model":"a","response":{"x":{"model":"a"},"model":"a"}}', None),
        (b'{"model":"a","other":{"model":"a"}}', b'{"model":"a","other":{"model":"a"}}'),
        (b'{"response":[{"model":"a"}]}', b'{"response":[{"model":"a"}]}'),
        (b'{"text":"\\"response\\":{\\"model\\":\\"a\\"}","response":{}}', None),
    ],
)
def test_only_the_responses_own_model_is_replaced(before: bytes, after: bytes | None) -> None:
    document = orjson.loads(before)
    got = replace_response_model(before, "n")
    if after is not None:
        assert got == after
    elif "model" in document["response"]:
        document["response"]["model"] = "n"
    assert orjson.loads(got) == (orjson.loads(after) if after is not None else document)


def test_the_closing_event_has_the_request_id() -> None:
    error = GatewayError("upstream_truncated", "It broke.")
    name, data = closing_event(error, "id-1").decode().strip().split("\n")
    assert name == "event: error"
    payload = orjson.loads(data.removeprefix("data: "))
    assert (payload["type"], payload["error"]["request_id"], payload["error"]["code"]) == ("error", "id-1", error.code)
