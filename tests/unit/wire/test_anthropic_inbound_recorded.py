"""Recorded traffic through the Anthropic inbound: every request to /v1/messages that real clients sent, and the
recorded answers of those who speak OpenAI's format, whose bodies and chunks are canonical nearly as they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from gateway.wire.token_estimate import estimate_prompt_tokens
from tests.unit.wire.test_anthropic_inbound import request
from tests.unit.wire.test_anthropic_inbound_grammar import cut, read_stream
from tests.wire_data import needs_recordings, place, recorded

pytestmark = needs_recordings

PYDANTIC = "pydantic/pydantic-ai:tests/"
ANTHROPIC = PYDANTIC + "models/cassettes/test_anthropic/test_anthropic_"
PORTABLE = PYDANTIC + "cassettes/test_tool_availability_portability/test_"
MATRIX = PORTABLE + "tool_availability_portability_matrix"
# What other providers cannot be asked for, and the field that is named: Anthropic's own tools (but web search), tools
# added in the conversation, files that only Anthropic holds, servers that it connects to.
REFUSED = {
    ANTHROPIC + "advisor_tool.yaml#0": "tools[0].type",
    ANTHROPIC + "advisor_tool_message_replay.yaml#1": "tools[0].type",
    ANTHROPIC + "advisor_tool_stream.yaml#0": "tools[0].type",
    ANTHROPIC + "code_execution_tool.yaml#0": "tools[0].type",
    ANTHROPIC + "code_execution_tool.yaml#1": "tools[0].type",
    ANTHROPIC + "code_execution_tool_container_reuse.yaml#0": "tools[0].type",
    ANTHROPIC + "code_execution_tool_stream.yaml#0": "tools[0].type",
    ANTHROPIC + "count_tokens_keeps_memory_tool.yaml#0": "tools[0].type",
    ANTHROPIC + "fable_5_lazy_advertisement_live.yaml#0": "tools[2].type",
    ANTHROPIC + "lazy_advertisement_live.yaml#0": "tools[2].type",
    ANTHROPIC + "mcp_servers_stream.yaml#0": "mcp_servers",
    ANTHROPIC + "memory_tool.yaml#0": "tools[0].type",
    ANTHROPIC + "memory_tool.yaml#1": "tools[0].type",
    ANTHROPIC + "text_editor_code_execution_tool_stream.yaml#0": "tools[0].type",
    ANTHROPIC + "web_fetch_tool_stream.yaml#0": "tools[0].type",
    PYDANTIC + "models/cassettes/test_anthropic_mid_conversation_system/test_native_tool_availability_delta.yaml#0": (
        "messages[3].content[0]"
    ),
    PYDANTIC
    + "models/cassettes/test_multimodal_tool_returns/"
    + "test_multimodal_tool_return_matrix[direct-uploaded_file-image-anthropic].yaml#1": (
        "messages[2].content[0].content[0].source"
    ),
    PYDANTIC
    + "models/cassettes/test_multimodal_tool_returns/"
    + "test_multimodal_tool_return_matrix[tool_return_content-uploaded_file-image-anthropic].yaml#1": (
        "messages[2].content[1].source"
    ),
    PYDANTIC
    + "models/anthropic/cassettes/test_web_tools/test_anthropic_unsupported_model_uses_previous_web_tools.yaml#0": (
        "tools[1].type"
    ),
    PORTABLE + "anthropic_live_delta_preserves_the_warmed_cache_prefix.yaml#0": "tools[1].type",
    PORTABLE + "anthropic_live_delta_preserves_the_warmed_cache_prefix.yaml#1": "messages[3].content[0]",
    MATRIX + "[R1-T1-native-search].yaml#0": "tools[2].type",
    MATRIX + "[R2-T1-native-search].yaml#0": "tools[2].type",
    MATRIX + "[R3-T1-native-search].yaml#0": "tools[2].type",
    MATRIX + "[R4-T1-tool-addition].yaml#0": "messages[1].content[0]",
    MATRIX + "[R5-T1-native-search].yaml#0": "tools[2].type",
    PYDANTIC + "cassettes/test_tool_search/test_anthropic_native_tool_search_regex_strategy.yaml#0": "tools[1].type",
    PYDANTIC + "cassettes/test_tool_search/test_anthropic_native_tool_search_streaming.yaml#0": "tools[2].type",
    PYDANTIC + "cassettes/test_tool_search/test_anthropic_native_tool_search_streaming.yaml#1": "tools[2].type",
}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def sent() -> list[dict[str, Any]]:
    return [row for row in recorded("anthropic") if row["path"] in ("/v1/messages", "/v1/messages/count_tokens")]


def read(row: dict[str, Any]) -> Any:
    body = orjson.dumps(row["request"])
    if row["path"].endswith("count_tokens"):
        return INBOUND.read_count_request(body)
    return INBOUND.read_request(body)


def blocks_of(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def every_block(document: Any) -> Iterator[Any]:
    """All blocks of a recorded request, those in results included."""
    yield from blocks_of(document.get("system"))
    for message in document["messages"]:
        for block in blocks_of(message["content"]):
            yield block
            if block["type"] == "tool_result":
                yield from blocks_of(block.get("content"))


def every_part(made: Any) -> Iterator[Any]:
    for message in made["messages"]:
        yield from blocks_of(message["content"])


def test_every_recorded_request_is_translated_or_refused_by_name() -> None:
    translated = []
    refused = {}
    for row in sent():
        document = read(row)
        if place(row) in REFUSED:
            with pytest.raises(GatewayError) as caught:
                INBOUND.canonical(document)
            assert caught.value.code == "unsupported_parameter"
            refused[place(row)] = caught.value.param
        else:
            assert INBOUND.canonical(document)["model"] == document["model"]
            translated.append(place(row))
        assert document == row["request"]
    assert refused == REFUSED
    assert (len(translated), len(refused), len(sent())) == (124, 29, 153)


def test_recorded_texts_images_calls_and_results_arrive_as_they_were_sent() -> None:
    counted: Counter[str] = Counter()
    for row in sent():
        if place(row) in REFUSED:
            continue
        document = row["request"]
        made = INBOUND.canonical(read(row))
        old, new = list(every_block(document)), list(every_part(made))
        texts = [block["text"] for block in old if block["type"] == "text"]
        texts += [block["tool_name"] for block in old if block["type"] == "tool_reference"]
        texts += [block["source"]["data"] for block in old if block["type"] == "document"]
        assert Counter(filter(None, texts)) == Counter(
            part["text"] for part in new if part["type"] == "text" and part["text"]
        ), place(row)
        images = [block["source"] for block in old if block["type"] == "image"]
        assert [part["image_url"]["url"] for part in new if part["type"] == "image_url"] == [
            source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
            for source in images
        ]
        calls = [block for block in old if block["type"] == "tool_use"]
        ours = [call for message in made["messages"] for call in message.get("tool_calls", ())]
        assert [
            (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"])) for call in ours
        ] == [(call["id"], call["name"], call["input"]) for call in calls]
        results = [block for block in old if block["type"] == "tool_result"]
        answers = [message for message in made["messages"] if message["role"] == "tool"]
        assert [(told["tool_call_id"], told.get("is_error", False)) for told in answers] == [
            (block["tool_use_id"], block.get("is_error", False)) for block in results
        ]
        thoughts = [block["thinking"] for block in old if block["type"] == "thinking"]
        assert [
            message["reasoning_content"] for message in made["messages"] if "reasoning_content" in message
        ] == thoughts
        signatures = [block["signature"] for block in old if block["type"] == "thinking"]
        details = [detail for message in made["messages"] for detail in message.get("reasoning_details", ())]
        assert [detail["signature"] for detail in details] == signatures
        counted.update(texts=len(texts), images=len(images), calls=len(calls), results=len(results))
        counted.update(thoughts=len(thoughts))
    assert counted == {"texts": 156, "images": 9, "calls": 17, "results": 17, "thoughts": 1}


def test_recorded_tools_and_parameters_arrive_as_they_were_sent() -> None:
    counted: Counter[str] = Counter()
    for row in sent():
        if place(row) in REFUSED:
            continue
        document = row["request"]
        made = INBOUND.canonical(read(row))
        given = document.get("tools") or []
        own = [tool for tool in given if tool.get("type") in (None, "custom")]
        assert [
            (tool["function"]["name"], tool["function"].get("description"), tool["function"]["parameters"])
            for tool in made.get("tools", ())
        ] == [(tool["name"], tool.get("description"), tool["input_schema"]) for tool in own]
        assert [tool["function"].get("strict") for tool in made.get("tools", ())] == [
            tool.get("strict") for tool in own
        ]
        assert ("web_search_options" in made) == (len(own) < len(given))
        choice = document.get("tool_choice")
        if choice and own:
            assert made["tool_choice"] == CHOICES[choice["type"]]
        assert made.get("max_tokens") == document.get("max_tokens")
        assert made.get("stream", False) == document.get("stream", False)
        for name in ("temperature", "top_p", "top_k", "thinking"):
            assert made.get(name) == document.get(name)
        assert made.get("stop") == document.get("stop_sequences")
        assert made.get("user") == (document.get("metadata") or {}).get("user_id")
        config = document.get("output_config") or {}
        assert made.get("reasoning_effort") == config.get("effort")
        wanted = config.get("format") or document.get("output_format")
        if wanted:
            assert made["response_format"]["json_schema"]["schema"] == wanted["schema"]
        counted.update(tools=len(own), choices=bool(choice), schemas=bool(wanted), efforts="effort" in config)
    assert counted == {"tools": 57, "choices": 42, "schemas": 20, "efforts": 6}


def test_recorded_conversations_with_anthropic_hold_nothing_foreign() -> None:
    for row in sent():
        assert without_foreign_marks(row["request"]) is row["request"]


def test_the_estimate_is_of_the_size_of_anthropics_own_count() -> None:
    seen = 0
    for row in sent():
        if row["path"] != "/v1/messages/count_tokens" or row["status"] != 200 or place(row) in REFUSED:
            continue
        if row["request"].get("tools"):
            continue  # Anthropic adds a prompt of its own about tools, some hundreds of tokens
        counted = row["response"]["input_tokens"]
        estimate = estimate_prompt_tokens(INBOUND.canonical(read(row)))
        assert counted / 2 <= estimate <= counted * 2
        seen += 1
    assert seen == 3


SPEAKERS = (
    "openai",
    "azure_openai",
    "groq",
    "deepseek",
    "mistral",
    "together",
    "openrouter",
    "cerebras",
    "huggingface",
    "ollama",
    "snowflake",
    "zai",
)


def chats(provider: str) -> list[dict[str, Any]]:
    return [
        row
        for row in recorded(provider)
        if row["path"].partition("?")[0].endswith("/chat/completions") and row["status"] == 200
    ]


def whole_answers(provider: str) -> list[dict[str, Any]]:
    return [
        row["response"]
        for row in chats(provider)
        if isinstance(row["response"], dict) and row["response"].get("choices")
    ]


def streams(provider: str) -> Iterator[list[dict[str, Any]]]:
    """The chunks of each recorded stream, up to an error or the end."""
    for row in chats(provider):
        if not row["stream"] or not isinstance(row["response"], str):
            continue
        chunks = []
        for line in row["response"].splitlines():
            if line.startswith("data:") and line[5:].strip() != "[DONE]":
                chunk = orjson.loads(line[5:])
                if chunk.get("error"):
                    break
                chunks.append(chunk)
        yield chunks


def first_choices(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk.get("choices") or () if not choice.get("index")]


def plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if isinstance(part.get("text"), str))


@pytest.mark.parametrize("provider", SPEAKERS)
def test_recorded_answers_are_rendered_with_their_text_and_calls(provider: str) -> None:
    for answer in whole_answers(provider):
        choice = answer["choices"][0]
        # One answer was filtered before it had a message.
        message = choice.get("message") or {}
        rendered = orjson.loads(INBOUND.render(answer, None, request()))
        # One has calls without a name, which nobody can make.
        calls = [call for call in message.get("tool_calls") or () if call["function"]["name"]]
        if (message.get("function_call") or {}).get("name"):
            calls = [{"id": f"toolu_{answer['id'][-24:]}_0", "function": message["function_call"]}]
        said = "".join(block["text"] for block in rendered["content"] if block["type"] == "text")
        assert said == plain(message.get("content")) + (message.get("refusal") or "")
        made = [block for block in rendered["content"] if block["type"] == "tool_use"]
        assert [(block["name"], block["input"]) for block in made] == [
            (call["function"]["name"], arguments_of(call)) for call in calls
        ]
        assert [block["id"] for block in made] == [call["id"] for call in calls]
        if calls:
            assert rendered["stop_reason"] == "tool_use"
        elif choice["finish_reason"] == "length":
            assert rendered["stop_reason"] == "max_tokens"


def arguments_of(call: Any) -> Any:
    given = call["function"].get("arguments")
    return given if isinstance(given, dict) else orjson.loads(given or "{}")


@pytest.mark.parametrize("provider", SPEAKERS)
def test_recorded_streams_are_told_in_anthropics_grammar(provider: str) -> None:
    for chunks in streams(provider):
        encoder = INBOUND.encoder(request())
        stream = b"".join([*map(encoder.encode, chunks), encoder.finish(None)])
        message = read_stream(stream)
        deltas = [choice.get("delta") or {} for choice in first_choices(chunks)]
        said = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        assert said == "".join(plain(delta.get("content")) for delta in deltas)
        # Some repeat the name with every piece of a call.
        started = {
            (call.get("index"), call["id"]): call["function"]["name"]
            for delta in deltas
            for call in delta.get("tool_calls") or ()
            if call.get("id") and call.get("function", {}).get("name")
        }
        names = list(started.values())
        assert [block["name"] for block in message["content"] if block["type"] == "tool_use"] == names
        arguments = "".join(
            call["function"].get("arguments") or ""
            for delta in deltas
            for call in delta.get("tool_calls") or ()
            if call.get("function")
        )
        told = [event["delta"] for event in cut(stream) if event["type"] == "content_block_delta"]
        assert "".join(delta.get("partial_json", "") for delta in told) == arguments
        thoughts = "".join(thought_in(delta) for delta in deltas)
        assert "".join(delta.get("thinking", "") for delta in told) == thoughts
        if names:
            assert message["stop_reason"] == "tool_use"


def thought_in(delta: Any) -> str:
    details = delta.get("reasoning_details") or ()
    told = "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
    return told or delta.get("reasoning_content") or delta.get("reasoning") or ""


def test_the_counts_of_what_was_replayed() -> None:
    whole = {name: len(whole_answers(name)) for name in SPEAKERS}
    assert whole == {
        "openai": 98,
        "azure_openai": 14,
        "groq": 46,
        "deepseek": 4,
        "mistral": 31,
        "together": 7,
        "openrouter": 20,
        "cerebras": 12,
        "huggingface": 13,
        "ollama": 4,
        "snowflake": 8,
        "zai": 8,
    }
    streamed = {name: len(list(streams(name))) for name in SPEAKERS}
    assert streamed == {
        "openai": 61,
        "azure_openai": 12,
        "groq": 8,
        "deepseek": 2,
        "mistral": 12,
        "together": 2,
        "openrouter": 8,
        "cerebras": 0,
        "huggingface": 1,
        "ollama": 0,
        "snowflake": 2,
        "zai": 1,
    }
