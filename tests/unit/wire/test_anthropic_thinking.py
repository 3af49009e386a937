"""Thinking, sampling and the other parameters with Anthropic's models."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic import DIALECT
from gateway.wire.dialect import Ask
from tests.unit.wire.anthropic_asks import (
    ADAPTIVE,
    ALWAYS,
    BETWEEN,
    BUDGET,
    CALL,
    FIVE,
    FOUR_SIX,
    HELLO,
    OLD,
    THOUGHT,
    TOOL,
    make_ask,
    refused,
    sent,
)


@pytest.mark.shows("anthropic", "reasoning")
@pytest.mark.parametrize(
    ("model", "document", "config", "effort", "limit"),
    [
        (BUDGET, {}, None, None, 8192),
        (BUDGET, {"reasoning_effort": "minimal"}, {"type": "enabled", "budget_tokens": 1024}, None, 5120),
        (BUDGET, {"reasoning_effort": "high"}, {"type": "enabled", "budget_tokens": 16384}, None, 20480),
        (
            BUDGET,
            {"reasoning_effort": "high", "max_tokens": 4000},
            {"type": "enabled", "budget_tokens": 3000},
            None,
            4000,
        ),
        (BUDGET, {"reasoning_effort": "none"}, None, None, 8192),
        (
            BUDGET,
            {"thinking": {"type": "enabled", "budget_tokens": 10}, "max_tokens": 5000},
            {"type": "enabled", "budget_tokens": 1024},
            None,
            5000,
        ),
        (
            BUDGET,
            {"thinking": {"type": "enabled", "budget_tokens": 9000}, "max_completion_tokens": 8000},
            {"type": "enabled", "budget_tokens": 6000},
            None,
            8000,
        ),
        ("claude-opus-4-1", {"reasoning_effort": "xhigh"}, {"type": "enabled", "budget_tokens": 27904}, None, 32000),
        (FOUR_SIX, {"reasoning_effort": "xhigh", "max_tokens": 9}, {"type": "adaptive"}, "max", 9),
        (
            FOUR_SIX,
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 9000},
            {"type": "enabled", "budget_tokens": 2000},
            None,
            9000,
        ),
        (
            FOUR_SIX,
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "tools": [TOOL], "tool_choice": "required"},
            {"type": "adaptive"},
            "low",
            16384,
        ),
        (ADAPTIVE, {"reasoning_effort": "minimal"}, {"type": "adaptive", "display": "summarized"}, "low", 16384),
        (
            ADAPTIVE,
            {"thinking": {"type": "enabled", "budget_tokens": 30000}},
            {"type": "adaptive", "display": "summarized"},
            "high",
            16384,
        ),
        (
            ADAPTIVE,
            {"thinking": {"type": "adaptive", "display": "omitted"}, "reasoning_effort": "xhigh"},
            {"type": "adaptive", "display": "omitted"},
            "xhigh",
            16384,
        ),
        (ADAPTIVE, {"thinking": {"type": "disabled"}}, None, None, 8192),
        (FIVE, {"thinking": {"type": "disabled"}}, {"type": "disabled"}, None, 16384),
        (BETWEEN, {"reasoning_effort": "none"}, {"type": "between_tools"}, None, 16384),
        (ALWAYS, {"reasoning_effort": "none"}, None, "low", 16384),
    ],
)
def test_thinking_is_asked_for_in_the_models_own_way(
    model: str, document: dict[str, Any], config: Any, effort: str | None, limit: int
) -> None:
    body = sent(model, **document)
    assert body.get("thinking") == config
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == limit


@pytest.mark.parametrize(
    ("model", "document", "dropped"),
    [
        (OLD, {"reasoning_effort": "low"}, "reasoning_effort"),
        (BUDGET, {"reasoning_effort": "low", "max_tokens": 1300}, "reasoning_effort"),
        (BUDGET, {"reasoning_effort": "low", "tools": [TOOL], "tool_choice": "required"}, "reasoning_effort"),
        (BUDGET, {"thinking": {"type": "adaptive"}, "response_format": {"type": "json_object"}}, "thinking"),
        (ALWAYS, {"thinking": {"type": "disabled"}}, "thinking"),
    ],
)
def test_thinking_that_cannot_be_had_is_dropped_by_name(model: str, document: dict[str, Any], dropped: str) -> None:
    body = sent(model, **document)
    assert "thinking" not in body
    assert body["dropped"] == [dropped]
    with pytest.raises(GatewayError, match=dropped):
        DIALECT.encode(make_ask(model, {dropped: "refuse"}, **document))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"thinking": True}, "thinking.type"),
        ({"thinking": {"type": []}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "9"}}, "thinking.budget_tokens"),
        ({"max_tokens": 0.5}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"stop": 3}, "stop"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"web_search_options": 3}, "web_search_options"),
    ],
)
def test_a_value_that_means_nothing_is_refused(document: dict[str, Any], field: str) -> None:
    assert refused(**document) == ("invalid_field", field)


@pytest.mark.shows("anthropic", "reasoning")
def test_thoughts_go_back_while_the_model_thinks_or_where_the_turn_calls_tools() -> None:
    def kinds(model: str, details: Any, **message: Any) -> list[str]:
        turn = {"role": "assistant", "content": "Yes.", "reasoning_details": details, **message}
        content = sent(model, messages=[*HELLO, turn, *HELLO], tools=[TOOL])["messages"][1]["content"]
        return ["text"] if isinstance(content, str) else [block["type"] for block in content]

    assert kinds(BUDGET, [THOUGHT]) == ["text"]
    assert kinds(BUDGET, [THOUGHT], tool_calls=[CALL]) == ["thinking", "text", "tool_use"]
    assert kinds(FIVE, [THOUGHT]) == ["thinking", "text"]
    assert kinds(FIVE, [{**THOUGHT, "id": "call_1"}], tool_calls=[CALL]) == ["text", "thinking", "tool_use"]
    assert kinds(FIVE, [{**THOUGHT, "id": "call_9"}], tool_calls=[CALL]) == ["thinking", "text", "tool_use"]
    assert kinds(FIVE, [{**THOUGHT, "format": "google-gemini-v1"}, {**THOUGHT, "signature": None}, 3]) == ["text"]
    assert kinds(FIVE, [{**THOUGHT, "index": 1, "signature": ""}]) == ["text"]


@pytest.mark.shows("anthropic", "reasoning")
def test_a_budget_is_given_up_in_a_tool_loop_that_began_without_thinking() -> None:
    loop = [
        *HELLO,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
    ]
    body = sent(messages=loop, tools=[TOOL], reasoning_effort="low")
    assert "thinking" not in body
    assert body["dropped"] == ["reasoning_effort"]
    assert sent(ADAPTIVE, messages=loop, tools=[TOOL], reasoning_effort="low")["thinking"]["type"] == "adaptive"
    loop[1]["reasoning_details"] = [THOUGHT]
    assert sent(messages=loop, tools=[TOOL], reasoning_effort="low")["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("model", "document", "made"),
    [
        (BUDGET, {"temperature": 0.2}, {"temperature": 0.2}),
        (BUDGET, {"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}),
        (OLD, {"temperature": 0.2, "top_p": 0.5, "top_k": 3}, {"temperature": 0.2, "top_p": 0.5, "top_k": 3}),
        (BUDGET, {"temperature": 1, "reasoning_effort": "low", "top_p": 0.97}, {"top_p": 0.97}),
        (FIVE, {"temperature": 1, "top_p": 1}, {}),
    ],
)
def test_sampling_goes_out_where_the_model_takes_it(model: str, document: dict[str, Any], made: Any) -> None:
    body = sent(model, **document)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == made
    assert body["dropped"] == []


@pytest.mark.parametrize(
    ("model", "document", "field"),
    [
        (FIVE, {"temperature": 0.2}, "temperature"),
        (FIVE, {"top_p": 0.2}, "top_p"),
        (FIVE, {"top_k": 5}, "top_k"),
        (BUDGET, {"temperature": 1.5}, "temperature"),
        (BUDGET, {"temperature": 0.5, "top_p": 0.5}, "top_p"),
        (BUDGET, {"temperature": 0.5, "reasoning_effort": "low"}, "temperature"),
        (BUDGET, {"top_p": 0.5, "reasoning_effort": "low"}, "top_p"),
        (BUDGET, {"logit_bias": {"1": 5}}, "logit_bias"),
        (BUDGET, {"logprobs": True}, "logprobs"),
        (BUDGET, {"presence_penalty": 0.5}, "presence_penalty"),
        (BUDGET, {"stop": ["\n", "x"]}, "stop"),
        (BUDGET, {"modalities": ["text", "audio"]}, "modalities"),
        (BUDGET, {"novelty": 1}, "novelty"),
    ],
)
def test_what_the_model_lacks_is_refused_by_name_or_dropped_as_the_account_says(
    model: str, document: dict[str, Any], field: str
) -> None:
    assert refused(model, **document) == ("unsupported_parameter", field)
    body = sent(model, {field: "drop"}, **document)
    assert body["dropped"] == [field]
    assert body.get("stop_sequences", "x") in (["x"], "x")


def test_hints_are_dropped_by_name_and_what_asks_for_nothing_without_a_word() -> None:
    body = sent(seed=1, store=True, verbosity="low", n=2, stream_options=None, service_tier="flex", metadata={"a": "b"})
    assert body["dropped"] == ["seed", "store", "verbosity", "service_tier", "metadata"]
    assert sent(frequency_penalty=0, logprobs=False, top_logprobs=None)["dropped"] == []


def test_who_asks_becomes_the_user_id() -> None:
    assert sent(user="u")["metadata"] == {"user_id": "u"}
    assert sent(metadata={"user_id": "m"})["metadata"] == {"user_id": "m"}
    assert sent(safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert sent(metadata={"user_id": "m"})["dropped"] == []


def test_fields_of_anthropics_own_pass() -> None:
    body = sent(container="c", speed="fast", inference_geo=None, output_config={"task_budget": 5})
    assert (body["container"], body["speed"], body["output_config"]) == ("c", "fast", {"task_budget": 5})
    assert "inference_geo" not in body


def test_the_accounts_limit_counts_where_the_client_gives_none() -> None:
    ask = make_ask()
    for option, limit in (("700", 700), ("", 8192), ("-3", 8192), ("²", 8192)):
        ask.options = {"max_tokens": option}
        assert orjson.loads(DIALECT.encode(ask).body)["max_tokens"] == limit


def test_another_operation_is_refused() -> None:
    with pytest.raises(GatewayError, match="embeddings"):
        DIALECT.encode(Ask("embeddings", {}, "claude-opus-5", "x", "x", 0))
