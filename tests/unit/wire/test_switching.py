"""A conversation with tools, images and thinking that one provider began goes on at another: every ordered pair.

PaLM is not among them, which has neither tools nor images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from gateway.wire.dialects import MODULES
from gateway.wire.openai import encode_request
from gateway.wire.openai_inbound import OPENAI
from tests.unit.wire.conversations import (
    CALLS,
    GO_ON,
    INLINE,
    MISTRAL,
    PIXELS,
    QUESTION,
    RESULTS,
    SIDES,
    SYSTEM,
    TOOLS,
    TRAINS,
    URL,
    WEATHER,
    Side,
    said,
    signature,
    thought,
)
from tests.unit.wire.hearing import NO_SIGNATURE

Body = dict[str, Any]

PAIRS = list(permutations(SIDES, 2))
NO_IMAGES = "ai21"
PICTURES: list[Body] = [{"type": "image_url", "image_url": {"url": url}} for url in (URL, INLINE)]
ANSWERED = [(name, arguments, RESULTS[name]) for name, arguments in CALLS]
# What may stand in a conversation, but never in the request to a provider that does not have it itself.
FOREIGN = {
    "annotations",
    "cache_control",
    "images",
    "is_error",
    "native_finish_reason",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "signature",
}


def keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(inner)


def begun(*, pictures: bool = True) -> Body:
    """The client's first request, in OpenAI's format."""
    text = {"type": "text", "text": QUESTION, "cache_control": {"type": "ephemeral"}}
    first = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [text, *(PICTURES if pictures else ())]},
    ]
    tools = [{**TOOLS[0], "cache_control": {"type": "ephemeral"}}, TOOLS[1]]
    return {"model": "shown", "messages": first, "tools": tools}


def go_on(document: Body, side: Side, turn: int, content: dict[str, Any] | None = None) -> Body:
    """The request that follows `side`'s answer: its message as it came, and the results, the last call's first."""
    answer, usage = side.answer(document, turn)
    message = orjson.loads(OPENAI.render(answer, usage, document))["choices"][0]["message"]
    found = {**RESULTS, **(content or {})}
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": found[call["function"]["name"]]}
        for call in reversed(message["tool_calls"])
    ]
    return {**document, "messages": [*document["messages"], message, *results]}


def check_foreign(body: Body, side: Side) -> None:
    assert not FOREIGN.intersection(keys(body)) - side.own


def refused(side: Side, document: Body) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        side.told(document)
    assert raised.value.status == 400
    return raised.value


def test_every_native_dialect_but_palm_is_among_them() -> None:
    assert set(SIDES) == {*MODULES, "openai", "azure", "mistral"} - {"palm"}
    assert len(PAIRS) == 110


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_conversation_goes_on_at_another_provider(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    pictures = second != NO_IMAGES
    if not pictures:
        error = refused(other, go_on(begun(), one, 1))
        assert (error.code, error.param) == ("unsupported_parameter", "messages[1].content[1]")
    body = other.told(go_on(begun(pictures=pictures), one, 1))
    heard = other.hear(body)
    assert heard.texts == [SYSTEM, QUESTION, said(first, 1)]
    assert heard.answered() == ANSWERED
    assert heard.images == (other.images() if pictures else [])
    assert heard.thoughts == one.kept(1, other)
    check_foreign(body, other)
    told = orjson.dumps(body).decode()
    assert (thought(first, 1) in told) == any(thought(first, 1) == text for text, _ in heard.thoughts)
    assert (signature(first, 1) in told) == any(signed for _, signed in heard.thoughts)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_it_may_come_back_to_the_first_with_what_that_once_thought(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    document = begun(pictures=NO_IMAGES not in (first, second))
    document = go_on(go_on(document, one, 1), other, 2)
    document = {**document, "messages": [*document["messages"], {"role": "user", "content": GO_ON}]}
    body = one.told(document)
    heard = one.hear(body)
    assert heard.texts == [SYSTEM, QUESTION, said(first, 1), said(second, 2), GO_ON]
    assert heard.answered() == ANSWERED * 2
    assert heard.thoughts == one.kept(1, one) + other.kept(2, one)
    assert heard.images == (one.images() if len(document["messages"][1]["content"]) > 1 else [])
    check_foreign(body, one)
    if one.takes in ("claude", "google"):
        assert signature(first, 1) in {signed for _, signed in heard.thoughts}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_ids_are_the_same_in_every_later_request(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    document = go_on(begun(pictures=False), one, 1)
    before = other.hear(other.told(document))
    longer = go_on(document, other, 2)
    after = other.hear(other.told(longer))
    assert after.calls[:2] == before.calls
    assert after.results[:2] == before.results


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_picture_in_a_result_goes_on_too(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    parts = [{"type": "text", "text": RESULTS[TRAINS]}, PICTURES[1]]
    document = go_on(begun(pictures=False), one, 1, {TRAINS: parts})
    if second == NO_IMAGES:
        error = refused(other, document)
        assert (error.code, error.param) == ("unsupported_parameter", "messages[3].content[1]")
        return
    body = other.told(document)
    heard = other.hear(body)
    assert heard.answered() == ANSWERED
    assert heard.images == [PIXELS if second == "ollama" else INLINE]
    # Those whose results hold text alone get it behind the last of them, maybe with a word about whose it is.
    assert heard.texts[:3] == [SYSTEM, QUESTION, said(first, 1)]
    check_foreign(body, other)


def test_a_call_that_another_made_has_the_signature_that_the_third_generation_takes_for_it() -> None:
    body = SIDES["gemini"].told(go_on(begun(), SIDES["openai"], 1))
    calls = [part for content in body["contents"] for part in content["parts"] if "functionCall" in part]
    assert [call.get("thoughtSignature") for call in calls] == [NO_SIGNATURE, None]


@pytest.mark.parametrize("first", ["ai21", "cohere"])
@pytest.mark.parametrize("second", ["openai", "azure"])
def test_long_ids_are_made_ones_that_openai_takes(first: str, second: str) -> None:
    document = go_on(begun(pictures=False), SIDES[first], 1)
    assert max(len(call["id"]) for call in document["messages"][2]["tool_calls"]) > 40
    heard = SIDES[second].hear(SIDES[second].told(document))
    assert max(len(call[0]) for call in heard.calls) <= 40
    assert heard.answered() == ANSWERED


@pytest.mark.parametrize("first", SIDES)
def test_mistral_gets_ids_of_nine_letters_and_digits_whichever_way_the_request_takes(first: str) -> None:
    """Its own ids stay; OpenAI's clients' requests are passed on, those of others are translated."""
    document = go_on(begun(pictures=False), SIDES[first], 1)
    passed = orjson.loads(encode_request(orjson.dumps(document), document, "mistral-large-latest", MISTRAL))
    for body in (SIDES["mistral"].told(document), passed):
        heard = SIDES["mistral"].hear(body)
        assert heard.answered() == ANSWERED
        ids = [call[0] for call in heard.calls]
        assert all(re.fullmatch("[a-zA-Z0-9]{9}", ident) for ident in ids)
        assert len(set(ids)) == len(ids)
        if first == "mistral":
            assert ids == [call["id"] for call in document["messages"][2]["tool_calls"]]
    again = SIDES["mistral"].hear(SIDES["mistral"].told(document))
    assert again.calls == SIDES["mistral"].hear(passed).calls


@pytest.mark.parametrize("first", [name for name in SIDES if name not in ("anthropic", "bedrock")])
@pytest.mark.parametrize("second", ["anthropic", "bedrock"])
def test_claude_is_not_asked_to_think_on_over_results_of_calls_it_has_not_thought_about(
    first: str, second: str
) -> None:
    side = SIDES[second]
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 8000}
    document = {**go_on(begun(), SIDES[first], 1), **thinking}
    old = side if second == "bedrock" else Side("anthropic", side.dialect, "claude-haiku-4-5", side.upstream, side.hear)
    encoded = old.dialect.encode(old.ask({**document, "messages": _without_remote(document["messages"])}))
    assert list(encoded.dropped) == ["thinking"]
    assert "thinking" not in set(keys(orjson.loads(encoded.body)))


@pytest.mark.parametrize("first", ["anthropic", "bedrock"])
def test_claude_on_bedrock_thinks_on_where_it_has_thought_before(first: str) -> None:
    document = go_on(begun(pictures=False), SIDES[first], 1)
    thinking = {"type": "enabled", "budget_tokens": 2048}
    body = SIDES["bedrock"].told({**document, "thinking": thinking, "max_tokens": 8000})
    assert body["additionalModelRequestFields"]["thinking"] == thinking


@pytest.mark.parametrize("second", ["anthropic", "bedrock"])
def test_ids_that_a_server_gives_again_with_every_answer_are_told_apart_for_claude(second: str) -> None:
    def calls(*names: str) -> Body:
        made = [
            {
                "id": "0" if name != WEATHER else "call_0",
                "type": "function",
                "function": {"name": name, "arguments": "{}"},
            }
            for name in names
        ]
        return {"role": "assistant", "content": None, "tool_calls": made}

    def result(call_id: str, text: str) -> Body:
        return {"role": "tool", "tool_call_id": call_id, "content": text}

    document = begun(pictures=False)
    document["messages"] += [calls(TRAINS), result("0", "first"), calls(TRAINS, WEATHER, TRAINS)]
    document["messages"] += [result("0", "second"), result("call_0", "third"), result("0", "fourth")]
    side = SIDES[second]
    heard = side.hear(side.told(document))
    assert [text for _, _, text in heard.answered()] == ["first", "second", "third", "fourth"]
    assert [ident for ident, _, _ in heard.calls] == ["0", "0_2", "call_0", "0_3"]
    shorter = {**document, "messages": document["messages"][:4]}
    assert side.hear(side.told(shorter)).calls == heard.calls[:1]


def _without_remote(messages: list[Body]) -> list[Body]:
    return [message if message["role"] != "user" else {"role": "user", "content": QUESTION} for message in messages]


# --- a client that speaks Anthropic's API -----------------------------------------------------------


def anthropic_begun(*, pictures: bool) -> Body:
    mark = {"cache_control": {"type": "ephemeral"}}
    content: list[Body] = [{"type": "text", "text": QUESTION, **mark}]
    if pictures:
        content.append({"type": "image", "source": {"type": "url", "url": URL}})
        content.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}})
    tools = [{"name": tool["function"]["name"], "input_schema": {"type": "object", "properties": {}}} for tool in TOOLS]
    first = {"role": "user", "content": content}
    return {"model": "shown", "max_tokens": 900, "system": SYSTEM, "messages": [first], "tools": tools}


def anthropic_go_on(document: Body, side: Side, turn: int) -> Body:
    """As an `anthropic` client does: the content as it came, and the results in one message."""
    if side.name == "anthropic":  # its bytes pass
        content = side.upstream(side.name, turn)["content"]
    else:
        answer, usage = side.answer(INBOUND.canonical(document), turn)
        content = orjson.loads(INBOUND.render(answer, usage, document))["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": RESULTS[block["name"]]}
        for block in reversed(content)
        if block["type"] == "tool_use"
    ]
    more = [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
    return {**document, "messages": [*document["messages"], *more]}


def anthropic_told(side: Side, document: Body) -> Body:
    return without_foreign_marks(document) if side.name == "anthropic" else side.told(INBOUND.canonical(document))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_client_of_anthropics_api_changes_provider_too(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    pictures = second != NO_IMAGES
    body = anthropic_told(other, anthropic_go_on(anthropic_begun(pictures=pictures), one, 1))
    heard = other.hear(body)
    assert heard.texts == [SYSTEM, QUESTION, said(first, 1)]
    assert heard.answered() == ANSWERED
    assert heard.images == (other.images() if pictures else [])
    assert heard.thoughts == one.kept(1, other)
    check_foreign(body, other)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_client_of_anthropics_api_may_come_back_to_the_first(first: str, second: str) -> None:
    one, other = SIDES[first], SIDES[second]
    document = anthropic_begun(pictures=NO_IMAGES not in (first, second))
    document = anthropic_go_on(anthropic_go_on(document, one, 1), other, 2)
    body = anthropic_told(one, document)
    heard = one.hear(body)
    assert heard.texts == [SYSTEM, QUESTION, said(first, 1), said(second, 2)]
    assert heard.answered() == ANSWERED * 2
    assert heard.thoughts == one.kept(1, one) + other.kept(2, one)
    check_foreign(body, one)
