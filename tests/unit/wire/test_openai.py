"""What goes to the upstream, and how usage is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.openai import CHAT, OPENAI_ENDPOINTS, Variations, encode_request, read_request, read_usage
from gateway.wire.usage import Usage

PLAIN = Variations()


def encode(body: bytes, model: str = "m", variations: Variations = PLAIN) -> bytes:
    return encode_request(body, read_request(CHAT, body), model, variations)


def test_a_request_that_needs_no_change_keeps_its_bytes() -> None:
    body = b'{ "model":"m", "messages":[{"role":"user","content":"\\u00e9"}],"seed":123456789012345678901234 ,"x":1.50}'
    assert encode(body) == body


def test_an_alias_changes_the_models_name_and_no_other_byte() -> None:
    body = b'{"messages":[{"role":"user","content":"\\u003cb> \\"model\\": 1"}], "model" : "m","temperature":0.70}'
    assert encode(body, "other") == body.replace(b'"m"', b'"other"')


def test_usage_is_asked_for_on_a_stream_and_nothing_else_changes() -> None:
    body = b'{"messages":[{"role":"user","content":"x"}],"model":"m","stream":true,"seed":123456789012345678901234}'
    asked = b'{"stream_options":{"include_usage":true},' + body[1:]
    assert encode(body) == asked
    assert encode(body, "other") == asked.replace(b'"m"', b'"other"')


def test_a_clients_own_stream_options_are_kept() -> None:
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_obfuscation":false}}'
    assert orjson.loads(encode(body))["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true}}'
    assert encode(body) == body


def test_a_provider_that_refuses_stream_options_is_not_sent_any() -> None:
    refuses = Variations(stream_usage=False)
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true}'
    assert encode(body, variations=refuses) == body
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true}}'
    assert "stream_options" not in orjson.loads(encode(body, variations=refuses))


def test_what_a_provider_lacks_is_left_out_and_what_it_renames_renamed() -> None:
    variations = Variations(unsupported=frozenset({"logprobs"}), renamed={"max_completion_tokens": "max_tokens"})
    body = b'{"model":"m","messages":[{"role":"user"}],"logprobs":true,"max_completion_tokens":5}'
    assert orjson.loads(encode(body, variations=variations)) == {
        "model": "m",
        "messages": [{"role": "user"}],
        "max_tokens": 5,
    }
    body = b'{"model":"m", "messages":[{"role":"user"}]}'
    assert encode(body, variations=variations) == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","model":"m","messages":[{"role":"user"}]}',
        b'{"model":"cheap","mod\\u0065l":"m","messages":[{"role":"user"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"bad"}],"messages":[{"role":"user"}]}',
        b'{"model":"m","messages":[{"role":"user"}],"max_tokens":100000,"max_tokens":1}',
        b'{"model":"m","messages":[{"role":"user"}],"n":100,"\\u006E":1}',
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_written_in_the_one_that_was_judged(body: bytes) -> None:
    document = read_request(CHAT, body)
    sent = encode_request(body, document, "m", PLAIN)
    assert sent == orjson.dumps(document)
    assert sent.count(b'"model"') == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "messages", "prompt", "input", "stream", "stream_options", "n", "max_tokens", "tools", "x"]
)
REQUESTS = st.dictionaries(FIELDS, JSON | st.sampled_from(["m", True, {"include_usage": True}, [{"role": "user"}]]))


def test_ids_of_calls_that_the_provider_refuses_are_the_only_change_and_are_looked_for_only_there() -> None:
    call = {"id": "call_abcdef", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_abcdef", "content": "y"},
    ]
    body = orjson.dumps({"model": "m", "messages": messages})
    document = read_request(CHAT, body)
    assert encode_request(body, document, "m", PLAIN) is body
    strict = Variations(call_id_characters=9)
    sent = orjson.loads(encode_request(body, document, "m", strict))
    written = sent["messages"][2]["tool_call_id"]
    assert len(written) == 9
    assert sent["messages"][1]["tool_calls"] == [{**call, "id": written}]
    sent["messages"][1]["tool_calls"][0]["id"] = sent["messages"][2]["tool_call_id"] = "call_abcdef"
    assert sent == document
    assert orjson.loads(body) == document, "the request was changed"
    for odd in (b"7", b"[7]", b'{"tool_calls":7}'):
        body = b'{"model":"m","input":"x","tool_call":0,"messages":%b}' % odd
        assert orjson.loads(encode_request(body, orjson.loads(body), "m", strict)) == orjson.loads(body)
    plain = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    assert encode_request(plain, read_request(CHAT, plain), "m", strict) is plain


@given(REQUESTS | JSON, st.sampled_from(OPENAI_ENDPOINTS), st.sampled_from([PLAIN, Variations(stream_usage=False)]))
def test_whatever_json_comes_it_is_refused_by_a_gateway_error_or_encoded_as_it_was_read(
    document: Any, endpoint: Any, variations: Variations
) -> None:
    body = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS) if _writable(document) else b"{"
    try:
        read = read_request(endpoint, body)
        sent = orjson.loads(encode_request(body, read, "other", variations))
    except GatewayError:
        return
    expected = {**read, "model": "other"}
    sent.pop("stream_options", None)
    expected.pop("stream_options", None)
    assert sent == expected


def _writable(document: Any) -> bool:
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError:
        return False
    return True


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_refused_by_a_gateway_error(body: bytes) -> None:
    for endpoint in OPENAI_ENDPOINTS:
        with pytest.raises(GatewayError):
            read_request(endpoint, body)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 3},
            },
            Usage(prompt=10, completion=5, cached=4, audio_in=1, reasoning=2, audio_out=3),
        ),
        ({"prompt_tokens": 8, "completion_tokens": 1, "prompt_cache_hit_tokens": 6}, Usage(8, 1, cached=6)),
        (
            {
                "prompt_tokens": 8,
                "prompt_tokens_details": {
                    "cache_creation_tokens": 5,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 2},
                },
            },
            Usage(8, cache_write=5, cache_write_1h=3),
        ),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"total_tokens": 9}, Usage(9)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": 2.5}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": 2**60}, Usage()),
        ({}, None),
        ({"type": "duration", "seconds": 3}, None),
        (None, None),
        ([1], None),
    ],
)
def test_usage_is_read_from_every_shape(usage: object, counts: Usage | None) -> None:
    assert read_usage(usage) == counts
