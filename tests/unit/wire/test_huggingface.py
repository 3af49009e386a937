"""Hugging Face: the router's and its servers' ways with paths, errors, streams and embeddings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Again, GatewayError
from gateway.wire.dialect import Ask
from gateway.wire.huggingface import DIALECT, EMBEDDING_WAYS
from tests.unit.wire.test_openai_dialect_hostile import ANYTHING, dumped
from tests.wire_data import splits


def ask(document: dict[str, Any], operation: str = "chat", model: str = "org/model", **more: Any) -> Ask:
    return Ask(operation, document, model, "shown", "chatcmpl-abc", 7, **more)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "shown", "messages": [{"role": "user", "content": "Hi"}], **fields}


def embed(way: str | None = None, **fields: Any) -> Ask:
    options = {} if way is None else {"embeddings": way}
    return ask({"model": "shown", "input": "a", **fields}, "embeddings", options=options)


@pytest.mark.shows("huggingface", "chat")
@pytest.mark.parametrize("model", ["openai/gpt-oss-120b:cerebras", "deepseek-ai/DeepSeek-R1:fastest", "tgi"])
def test_the_provider_named_behind_a_model_goes_out_with_it(model: str) -> None:
    encoded = DIALECT.encode(ask(chat(), model=model))
    assert encoded.path == "/v1/chat/completions"
    assert orjson.loads(encoded.body)["model"] == model


@pytest.mark.shows("huggingface", "structured output")
def test_schemas_and_efforts_go_out_as_they_are_and_openais_own_fields_do_not() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    document = chat(
        response_format=schema, reasoning_effort="low", max_completion_tokens=3, store=True, verbosity="low"
    )
    encoded = DIALECT.encode(ask(document))
    body = orjson.loads(encoded.body)
    assert body["response_format"] == schema
    assert body["reasoning_effort"] == "low"
    assert body["max_tokens"] == 3
    assert list(encoded.dropped) == ["store", "verbosity"]


@pytest.mark.shows("huggingface", "errors")
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens", "error_type": "validation"},
         "context_length_exceeded"),
        (413, {"error": "`inputs` must have less than 512 tokens. Given: 514", "error_type": "Validation"},
         "context_length_exceeded"),
        (422, {"error": "Template error: unknown role", "error_type": "template_error"}, "upstream_4xx"),
        (424, {"error": "Request failed during generation: CUDA out of memory", "error_type": "generation"},
         "upstream_5xx"),
        (424, {"message": "backend died", "type": "Backend"}, "upstream_5xx"),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, "upstream_overloaded"),
        (429, {"message": "no permits left", "code": 429, "type": "Overloaded"}, "upstream_overloaded"),
        (429, {"error": "Too Many Requests"}, "upstream_429"),
        (402, {"error": "You have exceeded your monthly included credits"}, "upstream_quota"),
        (400, {"error": "Authorization header is correct, but the token seems invalid"}, "upstream_auth"),
        (401, {"error": "Invalid username or password."}, "upstream_auth"),
        (403, {"error": "This authentication method does not have sufficient permissions"}, "upstream_auth"),
        (500, {"error": "Incomplete generation", "error_type": "incomplete_generation"}, "upstream_5xx"),
        (503, {"error": "Model org/model is currently loading", "estimated_time": 20.0}, "upstream_overloaded"),
        (404, {"error": "Model org/model does not exist"}, "upstream_4xx"),
        (400, {"error": {"message": "The requested model is not supported", "code": "model_not_supported"}},
         "upstream_4xx"),
        (400, {"error": ["a", "b", 3]}, "upstream_4xx"),
    ],
)  # fmt: skip
def test_errors_are_told_apart(status: int, error: dict[str, Any], code: str) -> None:
    found = DIALECT.read_error("p", status, orjson.dumps(error))
    assert found.code == code


def test_a_model_that_is_being_loaded_says_when_to_come_back() -> None:
    body = orjson.dumps({"error": "Model is currently loading", "estimated_time": 900.5})
    assert DIALECT.read_error("p", 503, body).retry_after_s == 120
    assert DIALECT.read_error("p", 503, body, retry_after_s=3).retry_after_s == 3


def test_a_failure_of_the_servers_model_may_be_tried_again() -> None:
    error = DIALECT.read_error("p", 424, b'{"error":"Request failed during generation"}')
    assert error.failure.again is Again.SAME


@pytest.mark.shows("huggingface", "streaming")
@pytest.mark.shows("huggingface", "errors")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'data:{"error":"Input validation error: too many tokens","error_type":"validation"}\n\n',
         "context_length_exceeded"),
        (b'event:error\ndata:{"error":"Model is overloaded","error_type":"overloaded"}\n\n', "upstream_overloaded"),
        (b'data:{"error":{"message":"bad schema","http_status_code":422}}\n\n', "upstream_4xx"),
        (b'data:{"error":"it broke"}\n\n', "upstream_bad_answer"),
    ],
)  # fmt: skip
def test_an_error_in_a_stream_ends_it(data: bytes, code: str) -> None:
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    first = (
        b'data:{"id":"","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}\n\n'
    )
    assert len(decoder.feed(first)) == 1
    assert decoder.feed(data) == []
    assert decoder.error is not None
    assert decoder.error.code == code
    assert not decoder.done


def test_a_stream_without_its_mark_is_done_behind_its_finish_reason_only() -> None:
    for finish, done in ((b'"stop"', True), (b"null", False)):
        decoder = DIALECT.decoder(ask(chat(), stream=True))
        decoder.feed(b'data:{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":' + finish + b"}]}\n\n")
        assert not decoder.done
        decoder.finish()
        assert decoder.done is done


@pytest.mark.shows("huggingface", "embeddings")
@pytest.mark.parametrize(
    ("way", "path"),
    [
        (None, "/hf-inference/models/org/model/pipeline/feature-extraction"),
        ("feature-extraction", "/hf-inference/models/org/model/pipeline/feature-extraction"),
        ("openai", "/v1/embeddings"),
        ("embed", "/embed"),
    ],
)
def test_embeddings_are_asked_for_where_the_account_says(way: str | None, path: str) -> None:
    assert DIALECT.encode(embed(way)).path == path


@pytest.mark.parametrize("model", ["../../api/whoami", "a//b", "a/./b", "", "\ud800"])
def test_the_name_of_a_model_leads_nowhere_else(model: str) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.encode(ask({"input": "a"}, "embeddings", model))
    assert caught.value.param == "model"
    assert DIALECT.encode(ask({"input": "a"}, "embeddings", "a?b#c")).path.count("?") == 0


@pytest.mark.shows("huggingface", "embeddings")
def test_a_single_text_may_come_back_as_a_single_vector() -> None:
    answer, usage = DIALECT.decode(embed(), b"[0.5,1]")
    assert [item["embedding"] for item in answer["data"]] == [[0.5, 1]]
    assert usage is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[[[0.1],[0.2]]]", "upstream_bad_answer"),
        (b"[]", "upstream_bad_answer"),
        (b'["a"]', "upstream_bad_answer"),
        (b"<html>", "upstream_bad_answer"),
        (b"{}", "upstream_bad_answer"),
        (b'{"error":"Model is overloaded","error_type":"Overloaded"}', "upstream_overloaded"),
    ],
)
def test_what_is_no_embedding_is_an_error(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(embed(), body)
    assert caught.value.code == code


@pytest.mark.shows("huggingface", "models")
def test_models_are_listed_by_the_router() -> None:
    assert DIALECT.read_models(b'{"object":"list","data":[{"id":"org/model","providers":[]}]}') == ["org/model"]


# --- whatever comes -----------------------------------------------------------------------------

_FIELDS = ("messages", "input", "tools", "truncate", "input_type", "dimensions", "prompt_name", "encoding_format")


@given(st.fixed_dictionaries({}, optional={name: ANYTHING for name in _FIELDS}), st.sampled_from(EMBEDDING_WAYS))
def test_no_request_raises_anything_but_a_gateway_error(document: dict[str, Any], way: str) -> None:
    for operation in ("chat", "embeddings"):
        try:
            DIALECT.encode(ask(document, operation, options={"embeddings": way}))
        except GatewayError:
            pass


@given(
    ANYTHING.map(dumped) | st.binary(max_size=30), st.sampled_from(EMBEDDING_WAYS), st.sampled_from(["float", "base64"])
)
def test_no_answer_raises_anything_but_a_gateway_error(body: bytes, way: str, encoding: str) -> None:
    for asked in (embed(way, encoding_format=encoding), ask(chat())):
        try:
            DIALECT.decode(asked, body)
        except GatewayError:
            pass


_ERROR = st.dictionaries(
    st.sampled_from(["error", "error_type", "message", "type", "code", "estimated_time"]), ANYTHING
)


@given(_ERROR.map(dumped) | st.binary(max_size=40), st.integers(300, 599), st.integers())
def test_no_error_raises_anything_in_an_answer_or_in_a_stream(body: bytes, status: int, seed: int) -> None:
    assert isinstance(DIALECT.read_error("p", status, body), GatewayError)
    seen = []
    for pieces in splits(b"data:" + body + b"\n\n", seed):
        decoder = DIALECT.decoder(ask(chat(), stream=True))
        chunks = [found for piece in pieces for found in decoder.feed(piece)] + decoder.finish()
        seen.append((chunks, decoder.error and decoder.error.code))
    assert all(found == seen[0] for found in seen)
