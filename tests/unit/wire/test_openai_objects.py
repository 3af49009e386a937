"""What bodies refer to and what answers tell of."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.openai_objects import is_ambiguous, objects_in, references_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["file_id", "file_ids", "input", "id", "type", "metadata", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("document", "own"),
    [
        ({"input_file_id": "f"}, {("file", "f")}),
        ({"training_file": "f", "validation_file": "g"}, {("file", "f"), ("file", "g")}),
        ({"previous_response_id": "r"}, {("response", "r")}),
        ({"conversation": {"id": "c"}}, {("conversation", "c")}),
        ({"conversation": "c"}, {("conversation", "c")}),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, {("file", "f")}),
        ({"input": [{"output": [{"file_id": "f"}], "type": "function_call_output"}]}, {("file", "f")}),
        ({"tools": [{"container": {"type": "auto", "file_ids": ["f", "g"]}}]}, {("file", "f"), ("file", "g")}),
        ({"tools": [{"container": "cntr_1"}]}, {("container", "cntr_1")}),
        ({"tools": [{"vector_store_ids": ["v"]}]}, {("vector_store", "v")}),
        ({"images": [{"file_id": "f"}], "mask": {"file_id": "g"}}, {("file", "f"), ("file", "g")}),
        ({"prompt": {"variables": {"a": {"type": "input_file", "file_id": "f"}}}}, {("file", "f")}),
        ({"metadata": {"file_id": "f"}, "tools": [{"parameters": {"file_id": "f"}}]}, set()),
        ({"tools": [{"parameters": {"properties": {"file_id": {"type": "string"}}}}]}, set()),
        ({"previous_response_id": None, "file_id": 7}, set()),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, {("response_item", "msg_1")}),
        ({"input": [{"id": "msg_1"}]}, {("response_item", "msg_1")}),
    ],
)
def test_references_are_found_wherever_they_stand(document: dict[str, Any], own: set[tuple[str, str]]) -> None:
    assert references_in(document) == (own, set())


def test_an_items_own_id_is_no_reference_but_may_be_anothers() -> None:
    document = {"input": [{"type": "reasoning", "id": "rs_1"}, {"role": "user", "id": "msg_1", "content": "x"}]}
    assert references_in(document) == (set(), {("response_item", "rs_1"), ("response_item", "msg_1")})


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5))
def test_any_document_can_be_searched(document: dict[str, Any]) -> None:
    own, items = references_in(document)
    assert all(isinstance(name, str) for _, name in own | items)
    for kind in ("file", "batch", "fine_tuning_job", "upload", "response", None):
        assert all(isinstance(name, str) for _, name in objects_in(kind, document))


def test_answers_tell_of_results_too() -> None:
    batch = {"id": "b", "output_file_id": "f", "error_file_id": None}
    assert objects_in("batch", batch) == [("batch", "b"), ("file", "f")]
    assert objects_in("fine_tuning_job", {"id": "j", "result_files": ["f", 3]})[1:] == [("file", "f")]
    assert objects_in("upload", {"id": "u", "file": {"id": "f"}})[1:] == [("file", "f")]
    assert objects_in("response", {"id": "r", "output": [{"id": "m"}, "x"]})[1:] == [("response_item", "m")]
    assert objects_in("file", {"id": "x" * 257}) == []


@pytest.mark.parametrize(
    ("body", "ambiguous"),
    [
        (b'{"previous_response_id": "a", "previous_response_id": null}', True),
        (b'{"previous_response\\u005fid": "a"}', True),
        (b'{"max_output_tokens": 100000, "max_output_tokens": 1}', True),
        (b'{"input": [{"file_id": "a", "file_id": "b"}]}', True),
        (b'{"model": "a", "input": "x"}', False),
    ],
)
def test_bodies_that_name_a_decisive_key_twice_are_ambiguous(body: bytes, ambiguous: bool) -> None:
    assert is_ambiguous(body, orjson.loads(body)) is ambiguous
