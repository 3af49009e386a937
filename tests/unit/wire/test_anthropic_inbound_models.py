"""Models as Anthropic's API lists them, and the estimate that counts tokens where the upstream does not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound_models import render_model, render_models
from gateway.wire.token_estimate import PER_CALL, PER_IMAGE, PER_MESSAGE, PER_PAGE, PER_TOOL, estimate_prompt_tokens

NAMES = ["a", "b", "c", "d", "e"]


def page(**options: Any) -> tuple[list[str], bool]:
    document = orjson.loads(render_models(NAMES, **options))
    ids = [model["id"] for model in document["data"]]
    assert document["first_id"] == (ids[0] if ids else None)
    assert document["last_id"] == (ids[-1] if ids else None)
    return ids, document["has_more"]


def test_a_model_is_shown_as_anthropic_shows_one() -> None:
    assert orjson.loads(render_model("gpt-4o")) == {
        "type": "model",
        "id": "gpt-4o",
        "display_name": "gpt-4o",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def test_pages_go_forward_and_back() -> None:
    assert page() == (NAMES, False)
    assert page(limit=2) == (["a", "b"], True)
    assert page(limit=2, after_id="b") == (["c", "d"], True)
    assert page(limit=2, after_id="d") == (["e"], False)
    assert page(after_id="e") == ([], False)
    assert page(limit=2, before_id="d") == (["b", "c"], True)
    assert page(limit=2, before_id="c") == (["a", "b"], False)
    assert page(before_id="a") == ([], False)
    assert orjson.loads(render_models([]))["data"] == []


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"after_id": "x"}, "after_id"),
        ({"before_id": "x"}, "before_id"),
        ({"after_id": "a", "before_id": "b"}, "before_id"),
    ],
)
def test_a_page_that_cannot_be_is_refused(options: Any, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        render_models(NAMES, **options)
    assert (caught.value.code, caught.value.param) == ("invalid_field", param)


def test_the_anthropic_sdk_reads_the_list() -> None:
    types = pytest.importorskip("anthropic.types")
    for model in orjson.loads(render_models(NAMES))["data"]:
        assert types.ModelInfo.model_validate(model).id == model["id"]


def estimate(*messages: Any, **more: Any) -> int:
    return estimate_prompt_tokens({"model": "m", "messages": list(messages), **more})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_four_bytes_are_a_token_and_a_message_has_some_of_its_own() -> None:
    empty = estimate(user(""))
    assert estimate(user("x" * 400)) == empty + 100
    assert estimate(user([{"type": "text", "text": "x" * 400}])) == empty + 100
    assert estimate(user(""), user("")) == empty + PER_MESSAGE
    assert estimate(user("語" * 400)) == empty + 300


def test_images_files_calls_and_tools_are_reckoned_flat() -> None:
    empty = estimate(user(""))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert estimate(user([image, image])) == empty + 2 * PER_IMAGE
    small = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
    large = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 400_000}}
    assert estimate(user([small])) == empty + PER_PAGE
    assert estimate(user([{"type": "file", "file": {"file_url": "https://x"}}])) == empty + PER_PAGE
    assert estimate(user([large])) == empty + 7 * PER_PAGE
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 64_000}}
    assert estimate(user([sound])) == empty + 30
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    assert estimate(called) > estimate({"role": "assistant", "content": None}) + PER_CALL
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert estimate(user(""), tools=tools) > empty + PER_TOOL
    thought = estimate({"role": "assistant", "content": "", "reasoning_content": "x" * 40})
    assert thought == estimate({"role": "assistant", "content": ""}) + 10


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "file", "file_data", "input_audio", "data", "function", "content"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(ANY | st.lists(ANY), ANY | st.lists(ANY), ANY)
def test_whatever_a_request_holds_it_has_an_estimate(messages: Any, tools: Any, schema: Any) -> None:
    tokens = estimate_prompt_tokens({"messages": messages, "tools": tools, "response_format": schema})
    assert tokens >= 0


def test_text_deeper_than_anybody_writes_is_not_counted_and_does_no_harm() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert estimate_prompt_tokens({"messages": [user("hi")], "tools": [deep]}) < 100
