"""Google PaLM: text in, text out, in one piece."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire import palm_stream
from gateway.wire.dialect import Ask
from gateway.wire.palm import DIALECT
from tests.wire_data import splits

CHAT, TEXT = "chat-bison-001", "text-bison-001"


def make_ask(document: dict[str, Any], model: str = TEXT, operation: str = "chat") -> Ask:
    return Ask(operation, {"messages": [{"role": "user", "content": "Hi"}], **document}, model, "m", "chatcmpl-1", 0)


def sent(model: str, **document: Any) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(DIALECT.encode(make_ask(document, model)).body)
    return read


def refused(model: str = TEXT, **document: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        DIALECT.encode(make_ask(document, model))
    return caught.value.code, caught.value.param


@pytest.mark.shows("palm", "chat")
def test_a_chat_model_is_sent_turns_and_a_text_model_a_script() -> None:
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Why?"},
    ]
    assert sent(CHAT, messages=messages) == {
        "prompt": {
            "context": "Be short.",
            "messages": [
                {"author": "0", "content": "Hi"},
                {"author": "1", "content": "No."},
                {"author": "0", "content": "Why?"},
            ],
        }
    }
    assert sent(TEXT, messages=messages) == {
        "prompt": {"text": "Be short.\n\nUser: Hi\n\nAssistant: No.\n\nUser: Why?\n\nAssistant:"}
    }


def test_instructions_alone_are_the_question() -> None:
    only = [{"role": "system", "content": "Greet."}]
    assert sent(CHAT, messages=only) == {"prompt": {"messages": [{"author": "0", "content": "Greet."}]}}
    assert sent(TEXT, messages=only) == {"prompt": {"text": "Greet."}}


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_tools_and_images_are_refused(document: dict[str, Any], param: str) -> None:
    assert refused(**document) == ("unsupported_parameter", param)


@pytest.mark.parametrize("field", ["max_tokens", "stop"])
def test_a_chat_model_has_no_limits(field: str) -> None:
    assert refused(CHAT, **{field: 5 if field == "max_tokens" else "x"}) == ("unsupported_parameter", field)


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"max_tokens": "5"}, "max_tokens"),
        ({"stop": [5]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 1.5}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(document: dict[str, Any], param: str) -> None:
    assert refused(**document) == ("invalid_field", param)


@pytest.mark.shows("palm", "errors")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"filters":[{"reason":"SAFETY"}]}', "content_policy_violation"),
        (b'{"candidates":[],"safetyFeedback":[{"rating":{}}]}', "content_policy_violation"),
        (b'{"candidates":[{"author":"1"}]}', "upstream_bad_answer"),
        (b'{"filters":7}', "upstream_bad_answer"),
        (b'{"error":{"code":503,"status":"UNAVAILABLE","message":"m"}}', "upstream_overloaded"),
        (b"[]", "upstream_bad_answer"),
    ],
)
def test_what_is_no_answer_has_its_own_code(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(make_ask({}), body)
    assert caught.value.code == code
    decoder = DIALECT.decoder(make_ask({}))
    assert decoder.feed(body) + decoder.finish() == []
    assert decoder.error is not None
    assert decoder.error.code == code


@pytest.mark.shows("palm", "streaming")
@pytest.mark.shows("palm", "n")
def test_a_whole_answer_becomes_a_chunk_for_each_choice() -> None:
    body = orjson.dumps({"candidates": [{"output": "a"}, {"output": "b"}]}, option=orjson.OPT_INDENT_2)
    for pieces in splits(body):
        decoder = DIALECT.decoder(make_ask({"n": 2}))
        assert [chunk for piece in pieces for chunk in decoder.feed(piece)] == []
        chunks = decoder.finish()
        assert decoder.done
        assert decoder.usage is None
        assert [chunk["choices"] for chunk in chunks] == [
            [{"index": index, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
            for index, text in enumerate("ab")
        ]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert decoder.finish() == []


@pytest.mark.parametrize("body", [b"", b" ", b'{"candidates":[{"output":"a"'])
def test_half_an_answer_is_cut_short(body: bytes) -> None:
    decoder = DIALECT.decoder(make_ask({}))
    decoder.feed(body)
    assert decoder.finish() == []
    assert not decoder.done
    assert decoder.error is None


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palm_stream.sse, "MAX_EVENT_BYTES", 10)
    decoder = DIALECT.decoder(make_ask({}))
    decoder.feed(b"{" + b" " * 20)
    assert decoder.error is not None
    assert decoder.error.code == "upstream_bad_answer"


@pytest.mark.shows("palm", "embeddings")
def test_one_text_or_several_are_embedded() -> None:
    for given, method in (("a", ":embedText"), (["a"], ":embedText"), (["a", "b"], ":batchEmbedText")):
        encoded = DIALECT.encode(make_ask({"input": given}, "embedding-gecko-001", "embeddings"))
        assert encoded.path == "/models/embedding-gecko-001" + method
    ask = make_ask({"input": "a"}, "embedding-gecko-001", "embeddings")
    assert DIALECT.decode(ask, b'{"embedding":{"value":[1.5]}}')[0]["data"][0]["embedding"] == [1.5]
    for body in (b"{}", b'{"embedding":{"value":"x"}}', b'{"embeddings":7}'):
        with pytest.raises(GatewayError):
            DIALECT.decode(ask, body)


@pytest.mark.shows("palm", "models")
def test_the_list_of_models_is_their_names() -> None:
    assert DIALECT.read_models(b'{"models":[{"name":"models/chat-bison-001"}]}') == [CHAT]
