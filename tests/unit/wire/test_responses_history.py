"""Which ids are the gateway's own, and what a request refers to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.responses_history import (
    may_be_kept,
    needs_translation,
    previous_response,
    referenced_items,
    resolved,
    response_of_item,
    stored_items,
    without_history,
)
from gateway.wire.responses_inbound import INBOUND

ID = "resp_" + "0123456789abcdef" * 2


def test_every_id_that_a_response_gives_says_whose_it_is() -> None:
    asked: dict[str, Any] = {
        "model": "m",
        "input": [{"role": "user", "content": "hi"}, {"role": "user", "content": "x"}],
    }
    message = {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Hm",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    answer = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    response = INBOUND.with_id(ID).response(answer, None, asked)
    items = [*response["output"], *stored_items(asked, ID)]
    assert len(items) == 5
    assert may_be_kept(response["id"])
    assert {response_of_item(item["id"]) for item in items} == {ID}


@pytest.mark.parametrize("other", ["", "resp_1", ID + "0", ID.upper(), ID + "\n", "msg" + ID[4:], f"msg_{ID}_0"])
def test_other_ids_do_not(other: str) -> None:
    assert not may_be_kept(other)
    assert response_of_item(other) is None


def test_what_is_left_without_history_refers_to_files_only() -> None:
    file = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}
    document = {
        "model": "m",
        "previous_response_id": ID,
        "conversation": "c",
        "input": [file, {"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}],
    }
    assert without_history(document) == {"model": "m", "input": [file]}
    assert without_history({"input": "hi"}) == {"input": "hi"}


def test_a_conversation_is_not_lost_on_the_way() -> None:
    with pytest.raises(GatewayError) as raised:
        INBOUND.canonical(resolved({"model": "m", "input": "hi", "conversation": "conv_1"}))
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "conversation")


def test_thoughts_and_references_of_the_gateways_own_are_for_the_gateway() -> None:
    own = "rs_" + ID.removeprefix("resp_") + "_0"
    for item in ({"type": "reasoning", "id": own}, {"type": "item_reference", "id": own}, {"id": own}):
        assert needs_translation({"input": [{"role": "user", "content": "x"}, item]})
        assert not needs_translation({"input": [{**item, "id": "rs_1"}]})
    assert not needs_translation({"input": [{"type": "message", "role": "assistant", "id": own, "content": "x"}]})
    assert not needs_translation({"input": "x"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["reasoning", "item_reference", ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "role"]), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"input": _JSON, "previous_response_id": _JSON}))
def test_whatever_a_client_sends_can_be_looked_at(document: dict[str, Any]) -> None:
    previous = previous_response(document)
    assert previous is None or not may_be_kept(previous) or len(previous) == 37
    assert all(isinstance(response_of_item(found), str | None) for found in referenced_items(document))
    assert referenced_items(without_history(document)) == []
    assert not needs_translation(without_history(document))
