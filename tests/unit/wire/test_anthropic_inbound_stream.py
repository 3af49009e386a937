"""Canonical chunks as Anthropic's events: every stream follows the grammar, and tells what the chunks told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.usage import Usage
from tests.unit.wire.test_anthropic_inbound import HELLO, canonical, request
from tests.unit.wire.test_anthropic_inbound_answer import ANY, DETAILS
from tests.unit.wire.test_anthropic_inbound_grammar import cut, read_stream


def chunk(delta: Any, finish: str | None = None, index: int = 0, **choice: Any) -> dict[str, Any]:
    made = {"index": index, "delta": delta, "finish_reason": finish, **choice}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "shown", "choices": [made]}


def piece(index: Any, arguments: Any = "", call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        made |= {"id": call_id, "type": "function"}
    if name is not None:
        made["function"]["name"] = name
    return {"tool_calls": [made]}


def encode(chunks: Iterable[Any], usage: Usage | None = None, **more: Any) -> bytes:
    encoder = INBOUND.encoder(request(**more))
    return b"".join([*map(encoder.encode, chunks), encoder.finish(usage)])


def tell(*deltas: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """The message that a client puts together from a stream with these deltas."""
    return read_stream(encode([*map(chunk, deltas), chunk({}, finish)], **more))


def content(*deltas: Any, **more: Any) -> Any:
    return tell(*deltas, **more)["content"]


def test_a_stream_of_text_is_told_event_by_event() -> None:
    encoder = INBOUND.encoder(request())
    first = encoder.encode(chunk({"role": "assistant", "content": ""}))
    assert [event["type"] for event in cut(first)] == ["message_start", "ping"]
    message = cut(first)[0]["message"]
    assert (message["id"], message["model"]) == ("chatcmpl-1", "shown")
    second = encoder.encode(chunk({"content": "Hel"}))
    assert cut(second) == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    ]
    third = encoder.encode(chunk({"content": "lo"}))
    assert len(cut(third)) == 1
    assert encoder.encode(chunk({}, "stop")) == b""
    last = encoder.finish(Usage(prompt=10, completion=2, cached=4, cache_write=1))
    assert cut(last) == [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 1,
                "cache_read_input_tokens": 4,
                "output_tokens": 2,
            },
        },
        {"type": "message_stop"},
    ]
    assert encoder.finish(None) == b""
    assert encoder.encode(chunk({"content": "late"})) == b""
    assert read_stream(first + second + third + last)["content"] == [{"type": "text", "text": "Hello"}]


def test_a_stream_without_a_chunk_is_an_empty_message() -> None:
    message = read_stream(encode([]))
    assert (message["content"], message["stop_reason"], message["model"]) == ([], "end_turn", "m")


def test_other_choices_and_chunks_without_any_are_passed_over() -> None:
    chunks = [{"id": "x", "choices": []}, chunk({"content": "b"}, index=1), chunk({"content": "a"})]
    assert read_stream(encode(chunks))["content"] == [{"type": "text", "text": "a"}]


def test_a_call_is_told_piece_by_piece() -> None:
    stream = encode(
        [
            chunk({"content": "Let me look."}),
            chunk(piece(0, "", "call_1", "weather")),
            chunk(piece(0, '{"city"')),
            chunk(piece(0, ':"Bern"}')),
            chunk({}, "tool_calls"),
        ]
    )
    message = read_stream(stream)
    assert message["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
    ]
    assert message["stop_reason"] == "tool_use"
    told = [event["delta"] for event in cut(stream) if event["type"] == "content_block_delta"]
    assert told[1:] == [
        {"type": "input_json_delta", "partial_json": '{"city"'},
        {"type": "input_json_delta", "partial_json": ':"Bern"}'},
    ]


def test_calls_one_after_the_other_are_not_held_back() -> None:
    encoder = INBOUND.encoder(request())
    for delta in (piece(0, '{"a":1}', "t0", "f"), piece(1, "", "t1", "g")):
        last = encoder.encode(chunk(delta))
    assert [event["type"] for event in cut(last)] == ["content_block_stop", "content_block_start"]


def test_the_pieces_of_calls_that_come_mixed_are_put_in_order() -> None:
    deltas = [
        piece(0, "", "t0", "f"),
        piece(1, "", "t1", "g"),
        piece(2, "", "t2", "h"),
        piece(1, '{"b":'),
        piece(0, '{"a":'),
        piece(2, "{}"),
        piece(1, "2}"),
        {"content": "So."},
        piece(0, "1}"),
    ]
    assert content(*deltas) == [
        {"type": "tool_use", "id": "t0", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t1", "name": "g", "input": {"b": 2}},
        {"type": "tool_use", "id": "t2", "name": "h", "input": {}},
        {"type": "text", "text": "So."},
    ]


def test_a_call_without_arguments_waits_for_the_end_only() -> None:
    calls = content(piece(0, "", "t0", "f"), piece(1, "", "t1", "g"))
    assert [block["input"] for block in calls] == [{}, {}]


def test_a_call_that_was_cut_off_is_told_as_far_as_it_came() -> None:
    stream = encode([chunk(piece(0, '{"a": "b', "t0", "f")), chunk({}, "length")])
    assert read_stream(stream)["stop_reason"] == "max_tokens"


def test_calls_that_all_have_the_same_index_are_told_apart() -> None:
    calls = content(piece(0, '{"a":1}', "t0", "f"), piece(0, '{"a":2}', "t1", "f"), piece(0, "", "t1"))
    assert [(block["id"], block["input"]["a"]) for block in calls] == [("t0", 1), ("t1", 2)]


def test_calls_without_index_or_id_get_a_place_and_an_id() -> None:
    both = {"tool_calls": [{"function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]}
    calls = content({"content": "x"}, both)
    assert [block["id"] for block in calls[1:]] == ["toolu_chatcmpl-1_1", "toolu_chatcmpl-1_2"]


def test_a_name_that_comes_late_starts_the_call_and_one_without_is_none() -> None:
    late = content(piece(0, '{"a":', "t0"), {"content": "x"}, piece(0, "1}", name="f"), piece(1, "{}", "t1"))
    assert late == [
        {"type": "text", "text": "x"},
        {"type": "tool_use", "id": "t0", "name": "f", "input": {"a": 1}},
    ]


def test_thinking_comes_before_the_text_and_has_its_signature() -> None:
    own = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    blocks = content(
        {"reasoning_content": "Hm", "reasoning_details": [{**own, "text": "Hm"}]},
        {"reasoning_content": "...", "reasoning_details": [{**own, "text": "..."}]},
        {"reasoning_details": [{**own, "signature": "c2ln"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "anthropic-claude-v1", "index": 1}
            ]
        },
        {"content": "Yes"},
    )
    assert blocks == [
        {"type": "thinking", "thinking": "Hm...", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "Yes"},
    ]


def test_thoughts_that_are_signed_as_a_whole_are_told_once() -> None:
    whole = {"type": "reasoning.text", "text": "Hm...", "signature": "c2ln", "format": "anthropic-claude-v1"}
    blocks = content({"reasoning_content": "Hm"}, {"reasoning_content": "..."}, {"reasoning_details": [whole]})
    assert blocks == [{"type": "thinking", "thinking": "Hm...", "signature": "c2ln"}]


def test_plain_reasoning_is_thinking_without_a_signature() -> None:
    assert content({"reasoning": "Hm"}, {"content": "Yes"}) == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "Yes"},
    ]


def test_what_others_need_back_comes_back_through_a_stream_too() -> None:
    call = piece(0, "{}", "t1", "f")
    blocks = content(*[{"reasoning_details": [detail]} for detail in DETAILS], {"content": "Yes"}, call)
    back = canonical(request([*HELLO, {"role": "assistant", "content": blocks}]))["messages"][1]
    assert back["reasoning_details"] == DETAILS


def test_citations_are_told_with_the_text_and_refusals_as_text() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "X"}}
    (block,) = content({"content": "It rains."}, {"annotations": [note]})
    assert block["citations"][0]["url"] == "https://x"
    assert content({"annotations": [note]}) == []
    message = tell({"refusal": "I will "}, {"refusal": "not."})
    assert message["content"] == [{"type": "text", "text": "I will not."}]
    assert message["stop_reason"] == "refusal"


def test_a_stop_sequence_is_told_where_only_one_can_be_meant() -> None:
    chunks = [chunk({"content": "a"}), chunk({}, "stop", native_finish_reason="stop_sequence")]
    message = read_stream(encode(chunks, stop_sequences=["END"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_the_anthropic_sdk_puts_the_same_message_together() -> None:
    streaming = pytest.importorskip("anthropic.lib.streaming._messages")
    types = pytest.importorskip("anthropic.types")
    stream = encode(
        [
            chunk({"reasoning_content": "Hm"}),
            chunk({"content": "Yes"}),
            chunk(piece(0, '{"a":1}', "t0", "f")),
            chunk({}, "tool_calls"),
        ],
        Usage(prompt=5, completion=7),
    )
    snapshot = None
    buffers: dict[int, bytes] = {}
    adapter = pytest.importorskip("pydantic").TypeAdapter(types.RawMessageStreamEvent)
    for event in cut(stream):
        if event["type"] != "ping":
            made = adapter.validate_python(event)
            snapshot = streaming.accumulate_event(event=made, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    told = snapshot.to_dict()
    assert [block["type"] for block in told["content"]] == ["thinking", "text", "tool_use"]
    assert told["content"][2]["input"] == {"a": 1}
    assert (told["stop_reason"], told["usage"]["input_tokens"]) == ("tool_use", 5)


ARGUMENTS = ['{"city":"Bern","n":[1,2]}', "{}", '{"text":"a } b { \\" c"}', '{"deep":{"er":{}}}']


@given(st.data(), st.integers(min_value=1, max_value=4))
def test_calls_mixed_in_any_way_come_out_whole(data: st.DataObject, count: int) -> None:
    wanted = [data.draw(st.sampled_from(ARGUMENTS)) for _ in range(count)]
    queues = []
    for index, text in enumerate(wanted):
        ends = sorted(data.draw(st.sets(st.integers(1, len(text)), max_size=4)) | {len(text)})
        starts = [0, *ends[:-1]]
        pieces = [piece(index, text[start:end]) for start, end in zip(starts, ends, strict=True)]
        queues.append([piece(index, "", f"t{index}", f"f{index}"), *pieces])
    deltas = []
    while any(queues):
        # A call's first piece comes after those of the calls before it.
        open_now = [at for at, queue in enumerate(queues) if queue and (at == 0 or len(queues[at - 1]) <= len(queue))]
        at = data.draw(st.sampled_from(open_now or [next(at for at, queue in enumerate(queues) if queue)]))
        deltas.append(queues[at].pop(0))
    blocks = content(*deltas, finish="tool_calls")
    assert sorted((block["name"], orjson.dumps(block["input"])) for block in blocks) == sorted(
        (f"f{index}", orjson.dumps(orjson.loads(text))) for index, text in enumerate(wanted)
    )


DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(max_size=4) | ANY,
        "refusal": st.text(max_size=4) | ANY,
        "annotations": st.lists(ANY, max_size=2) | ANY,
        "reasoning_content": st.text(max_size=4) | ANY,
        "reasoning_details": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"]) | ANY},
                optional={name: st.text(max_size=4) | ANY for name in ("text", "summary", "data", "signature", "id")}
                | {"format": st.sampled_from(["anthropic-claude-v1", "other"]) | ANY, "index": st.integers(0, 2) | ANY},
            )
            | ANY,
            max_size=2,
        ),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(0, 2) | ANY, "id": st.sampled_from(["a", "b", None]) | ANY},
                optional={
                    "function": st.fixed_dictionaries(
                        {},
                        optional={
                            "name": st.sampled_from(["f", "", None]),
                            "arguments": st.sampled_from(["{", "}", "{}", "", '{"a":']) | ANY,
                        },
                    )
                    | ANY
                },
            )
            | ANY,
            max_size=3,
        )
        | ANY,
        "function_call": ANY,
    },
)


@given(st.lists(DELTA, max_size=8))
def test_whatever_comes_the_stream_follows_the_grammar(deltas: list[Any]) -> None:
    encoder = INBOUND.encoder(request())
    chunks = [chunk(delta) for delta in deltas]
    # Arguments that are no JSON are told as they came, which only an answer cut off at its limit may have.
    stream = b"".join([*map(encoder.encode, chunks), encoder.encode(chunk({}, "length")), encoder.finish(None)])
    read_stream(stream)


@given(ANY, ANY, ANY)
def test_no_chunk_makes_the_encoder_fail(choices: Any, index: Any, finish: Any) -> None:
    chunks = [
        {"id": index, "model": finish, "choices": choices},
        {"choices": [{"index": index, "delta": finish, "finish_reason": finish}]},
    ]
    read_stream(encode(chunks))
