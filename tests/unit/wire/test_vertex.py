"""What Vertex AI has of its own: paths, embeddings, no ids."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.providers.vertex import PROVIDER
from gateway.wire.dialect import Ask
from gateway.wire.usage import Usage
from gateway.wire.vertex import DIALECT

OPTIONS = {"project": "p/1", "region": "us-central1"}
START = "/v1/projects/p%2F1/locations/us-central1"


def make_ask(document: dict[str, Any], model: str = "gemini-2.5-flash", operation: str = "chat", **more: Any) -> Ask:
    return Ask(operation, document, model, "m", "chatcmpl-1", 0, options=OPTIONS, **more)


def chat(**document: Any) -> dict[str, Any]:
    sent: dict[str, Any] = orjson.loads(
        DIALECT.encode(make_ask({"messages": [{"role": "user", "content": "x"}], **document})).body
    )
    return sent


def embed(model: str, **document: Any) -> tuple[str, dict[str, Any]]:
    encoded = DIALECT.encode(make_ask(document, model, "embeddings"))
    return encoded.path.rpartition("/")[2], orjson.loads(encoded.body)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/publishers/google/models/gemini-2.5-flash"),
        ("google/gemini-2.5-flash", "/publishers/google/models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "/publishers/google/models/gemini-2.5-flash"),
        ("publishers/meta/models/llama-4@001", "/publishers/meta/models/llama-4@001"),
        ("endpoints/42", "/endpoints/42"),
        ("..", "/publishers/google/models/.."),
        ("google/x?alt=y", "/publishers/google/models/x%3Falt%3Dy"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(model: str, path: str) -> None:
    document = {"messages": [{"role": "user", "content": "x"}]}
    assert DIALECT.encode(make_ask(document, model)).path == f"{START}{path}:generateContent"
    streamed = DIALECT.encode(make_ask(document, model, stream=True))
    assert streamed.path == f"{START}{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["a/b/c", "projects/other/locations/x/endpoints/1", "publishers/google/x/y"])
def test_a_model_of_another_form_is_refused(model: str) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.encode(make_ask({"messages": [{"role": "user", "content": "x"}]}, model))
    assert (caught.value.code, caught.value.param) == ("invalid_field", "model")


@pytest.mark.shows("vertex", "tools")
@pytest.mark.shows("vertex", "tool choice")
def test_neither_ids_nor_the_modes_of_the_other_address_are_sent() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    sent = chat(
        messages=[
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "y"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "strict": True}}, {"googleSearch": {}}],
    )
    assert sent["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert sent["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "y"}}}]
    assert "toolConfig" not in sent


@pytest.mark.shows("vertex", "structured output")
@pytest.mark.shows("vertex", "reasoning")
@pytest.mark.shows("vertex", "images")
def test_the_format_is_geminis() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "f", "schema": {"type": "object"}}}
    image = {"type": "image_url", "image_url": {"url": "gs://b/a.png"}}
    sent = chat(
        messages=[{"role": "user", "content": [image]}], response_format=form, reasoning_effort="low", labels={"a": "b"}
    )
    assert sent == {
        "contents": [{"role": "user", "parts": [{"fileData": {"mimeType": "image/png", "fileUri": "gs://b/a.png"}}]}],
        "labels": {"a": "b"},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
            "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True},
        },
    }


@pytest.mark.shows("vertex", "embeddings")
def test_each_generation_of_embedding_models_has_its_method() -> None:
    assert embed("gemini-embedding-001", input="x") == (
        "gemini-embedding-001:predict",
        {"instances": [{"content": "x"}]},
    )
    assert embed("text-embedding-005", input=["x", "y"], truncate="END", task_type="CLUSTERING") == (
        "text-embedding-005:predict",
        {
            "instances": [{"content": text, "task_type": "CLUSTERING"} for text in ("x", "y")],
            "parameters": {"autoTruncate": True},
        },
    )
    assert embed("gemini-embedding-2", input=["x"], dimensions=8, truncate="NONE") == (
        "gemini-embedding-2:embedContent",
        {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 8, "autoTruncate": False},
    )


@pytest.mark.parametrize(
    ("document", "param"),
    [({"input": ["x", "y"]}, "input"), ({"input": "x", "truncate": "START"}, "truncate"), ({"input": 7}, "input")],
)
def test_what_an_embedding_model_does_not_take_is_refused(document: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        embed("gemini-embedding-2", **document)
    assert (caught.value.code, caught.value.param) == ("invalid_field", param)


def test_predictions_add_up_their_tokens() -> None:
    each = {"embeddings": {"values": [1.0], "statistics": {"token_count": 2.0}}}
    ask = make_ask({"input": ["x", "y"]}, "text-embedding-005", "embeddings")
    answer, usage = DIALECT.decode(ask, orjson.dumps({"predictions": [each, each]}))
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert usage == Usage(prompt=4)
    with pytest.raises(GatewayError, match="no predictions"):
        DIALECT.decode(ask, b'{"predictions":7}')


@pytest.mark.shows("vertex", "models")
def test_the_list_of_models_is_that_of_the_publisher() -> None:
    listed = {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-pro", "versionId": "default"}]}
    assert DIALECT.read_models(orjson.dumps(listed)) == ["gemini-2.5-pro"]


def test_the_provider_knows_the_options_that_the_path_names() -> None:
    assert PROVIDER.dialect == DIALECT.name
    assert set(PROVIDER.options) == set(OPTIONS)
