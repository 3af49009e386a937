"""The official openai package's Responses API against models whose providers have none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from tests.acceptance.gateway_process import MASTER_KEY, gateway
from tests.acceptance.served import Upstream, call, llmock

_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
providers:
  claude: {type: anthropic, base_url: "http://127.0.0.1:MOCK/anthropic/v1", api_key: none}
  demo: {type: demo}
models:
  - {name: sonnet, targets: [{provider: claude, model: claude-sonnet-4-5}]}
  - {name: demo, targets: [{provider: demo, model: demo}]}
"""
_WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    """What the structured answers hold."""

    name: str
    people: int


@dataclass
class Running:
    """The gateway's address, and llmock."""

    url: str
    mock: Upstream

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Forget what llmock has seen, and tell it what to do next."""
        call("POST", self.mock.url + "/_llmock/reset")
        if behaviors:
            status, _, said = call("POST", self.mock.url + "/_llmock/scenario", {"behaviors": list(behaviors)})
            assert status == 201, said

    def client(self, *endpoints: str) -> OpenAI:
        """The SDK with a key of its own."""
        fields: dict[str, Any] = {"name": "t", **({"endpoints": list(endpoints)} if endpoints else {})}
        status, _, made = call("POST", self.url + "/admin/keys", fields, MASTER_KEY)
        assert status in (200, 201), made
        return OpenAI(base_url=self.url + "/v1", api_key=made["key"], max_retries=0)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))  # short: sockets live under it
    mock = llmock("--stream-chunk-delay-ms", "2")
    mock.launch()
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG.replace("MOCK", str(mock.port)))
    try:
        with gateway(folder / "home", config) as process:
            mock.wait()
            yield Running(process.url, mock)
    finally:
        mock.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def client(running: Running) -> Iterator[OpenAI]:
    running.script()
    with running.client("default", "responses_stored") as made:
        yield made


@pytest.mark.parametrize("model", ["demo", "sonnet"])
def test_a_response_and_what_is_kept_of_it(client: OpenAI, model: str) -> None:
    made = client.responses.create(model=model, input="Hello there", instructions="Be short.", metadata={"a": "b"})
    assert (made.status, made.model, made.metadata) == ("completed", model, {"a": "b"})
    assert made.output_text
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens > 0
    assert client.responses.retrieve(made.id) == made
    (item,) = client.responses.input_items.list(made.id)
    assert "Hello there" in item.to_json()
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@pytest.mark.parametrize("model", ["demo", "sonnet"])
def test_a_stream_by_event_and_by_helper(client: OpenAI, model: str) -> None:
    events = list(client.responses.create(model=model, input="Tell me something.", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == said != ""
    assert client.responses.retrieve(last.response.id).output_text == said
    with client.responses.stream(model=model, input="Tell me something.") as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert "response.output_text.delta" in kinds
    assert final.output_text


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_result_given_back(client: OpenAI, running: Running, streamed: bool) -> None:
    running.script({"type": "reply", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Ulm"}}]})
    if streamed:
        with client.responses.stream(model="sonnet", input="How is the weather in Ulm?", tools=[_WEATHER]) as stream:
            pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
            asked: Any = stream.get_final_response()
        assert "".join(pieces)
    else:
        asked = client.responses.create(model="sonnet", input="How is the weather in Ulm?", tools=[_WEATHER])
    (wanted,) = [item for item in asked.output if item.type == "function_call"]
    assert wanted.name == "get_weather"
    assert '"Ulm"' in wanted.arguments
    answer = client.responses.create(
        model="sonnet",
        previous_response_id=asked.id,
        input=[{"type": "function_call_output", "call_id": wanted.call_id, "output": "rain"}],
        tools=[_WEATHER],
    )
    assert answer.output_text
    assert answer.previous_response_id == asked.id
    moved = client.responses.create(model="demo", previous_response_id=answer.id, input="And tomorrow?")
    assert "And tomorrow?" in moved.output_text


def test_parse_with_a_schema(client: OpenAI, running: Running) -> None:
    running.script({"type": "reply", "text": '{"name": "Ulm", "people": 128000}'})
    parsed = client.responses.parse(model="sonnet", input="Which city?", text_format=City)
    assert parsed.output_parsed == City(name="Ulm", people=128000)
    assert client.responses.retrieve(parsed.id).output_text == parsed.output_text


def test_store_false_is_respected(client: OpenAI) -> None:
    made = client.responses.create(model="demo", input="x", store=False)
    assert made.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="demo", input="y", previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("not_found", "previous_response_id")


def test_a_usual_key_is_answered_and_keeps_nothing(running: Running) -> None:
    with running.client() as usual:
        made = usual.responses.create(model="sonnet", input="x")
        assert made.output_text
        assert made.to_dict()["store"] is False
        with pytest.raises(openai.PermissionDeniedError):
            usual.responses.retrieve(made.id)
        with pytest.raises(openai.PermissionDeniedError):
            usual.responses.create(model="sonnet", input="x", store=True)


def test_errors_are_the_sdks_own(client: OpenAI, running: Running) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="sonnet", input="x", background=True)
    assert caught.value.param == "background"
    running.script({"type": "fail", "status": 400, "message": "no such thing"})
    with pytest.raises(openai.BadRequestError, match="no such thing"):
        client.responses.create(model="sonnet", input="x")
