from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.reporting import MAX_TAGS, read_tags, read_user


def test_tags_come_from_the_header_and_the_body_each_once() -> None:
    assert read_tags(b"web, team:a/b,,web", {"metadata": {"tags": ["web", "batch-1"]}}) == (
        "web",
        "team:a/b",
        "batch-1",
    )
    assert read_tags(None, {}) == read_tags(b"", {"metadata": None}) == read_tags(b" , ", {"metadata": {}}) == ()


@pytest.mark.parametrize("tag", ["", "-x", "=1", "a b", "x" * 65, "ü", "a\tb", "a\n", "٣"])
def test_a_tag_of_other_characters_is_refused_by_name(tag: str) -> None:
    with pytest.raises(GatewayError) as refused:
        read_tags(None, {"metadata": {"tags": ["ok", tag]}})
    assert (refused.value.code, refused.value.param) == ("invalid_field", "metadata.tags")


@pytest.mark.parametrize("header", [b"-x", b"=1", b"ok,a b", b"x" * 65, "ü".encode(), b"a\x00b", b"a;b"])
def test_a_tag_in_the_header_is_refused_by_the_headers_name(header: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        read_tags(header, {})
    assert (refused.value.code, refused.value.param) == ("invalid_field", "x-gateway-tags")


@pytest.mark.parametrize("given_tags", [[1], [None], [["a"]], [{"a": 1}], [True]])
def test_what_is_no_string_is_no_tag(given_tags: list[Any]) -> None:
    with pytest.raises(GatewayError):
        read_tags(None, {"metadata": {"tags": given_tags}})


def test_ten_tags_are_enough() -> None:
    ten = [f"t{number}" for number in range(MAX_TAGS)]
    assert read_tags(",".join(ten).encode(), {"metadata": {"tags": ten}}) == tuple(ten)
    for header, body in ((",".join([*ten, "one-more"]).encode(), {}), (b"one-more", {"metadata": {"tags": ten}})):
        with pytest.raises(GatewayError):
            read_tags(header, body)
    with pytest.raises(GatewayError):
        read_tags(None, {"metadata": {"tags": ["a"] * 11}})


@pytest.mark.parametrize(
    "metadata", ["x", 1, [], {"tags": "free text, as OpenAI has it"}, {"tags": {}}, {"other": [1]}]
)
def test_metadata_of_other_shapes_is_the_callers_own(metadata: object) -> None:
    assert read_tags(None, {"metadata": metadata}) == ()


def test_the_user_is_openais_or_anthropics() -> None:
    assert read_user({"user": "ann", "metadata": {"user_id": "bob"}}) == "ann"
    assert read_user({"metadata": {"user_id": "bob"}}) == "bob"
    assert (
        read_user({"user": None, "metadata": {"user_id": None}}) == read_user({"metadata": "x"}) == read_user({}) == ""
    )
    assert read_user({"user": "ü" * 256}) == "ü" * 256


@pytest.mark.parametrize("user", [1, ["a"], "x" * 257, "a\nb", "a\0", "\ud800"])
def test_a_user_that_cannot_be_is_refused_by_name(user: object) -> None:
    for document, name in (({"user": user}, "user"), ({"metadata": {"user_id": user}}, "metadata.user_id")):
        with pytest.raises(GatewayError) as refused:
            read_user(document)
        assert (refused.value.code, refused.value.param) == ("invalid_field", name)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.sampled_from(["tags", "user_id"]), inner),
    max_leaves=20,
)


@given(st.none() | st.binary(max_size=200), st.dictionaries(st.sampled_from(["user", "metadata"]), _JSON))
def test_nothing_but_a_refusal_comes_of_malformed_input(header: bytes | None, document: dict[str, object]) -> None:
    for read in (lambda: read_tags(header, document), lambda: (read_user(document),)):
        try:
            assert all(isinstance(text, str) for text in read())
        except GatewayError as error:
            code = error.code
        else:
            code = "invalid_field"
        assert code == "invalid_field"
