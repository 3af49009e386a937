from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.bounds.content import Content, read_content

PNG = "data:image/png;base64,AAAA"
_SOURCE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


def _chat(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _read(document: dict[str, Any], *, images: bool = True, image_urls: bool = True) -> Content:
    return read_content(document, images=images, image_urls=image_urls)


@pytest.mark.parametrize(
    "document",
    [
        {"messages": [{"role": "user", "content": "x"}]},
        _chat({"type": "text", "text": "x"}, {"type": "refusal", "refusal": "no"}, "text", 3),
        {"system": [{"type": "text", "text": "x"}], "messages": []},
        {"input": ["x", "y"]},
        {"input": [1, 2, 3]},
        {"input": [[1, 2], [3]]},
        {"input": [{"role": "user", "content": "x"}, {"type": "function_call_output", "output": "x"}]},
        {"input": [{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]}]},
        {"messages": "no list"},
        _chat({"type": "file", "file": {"file_data": "data:text/plain;base64,AAAA"}}),
        _chat({"type": "document", "source": {"type": "text", "data": "x"}}),
        _chat({"type": "tool_result", "content": [{"type": "text", "text": "x"}]}),
    ],
)
def test_text_is_plain_however_it_is_written(document: dict[str, Any]) -> None:
    assert _read(document) == Content()


@pytest.mark.parametrize(
    ("document", "size"),
    [
        (_chat({"type": "image_url", "image_url": {"url": PNG}}), len(PNG)),
        (_chat({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}), 0),
        (_chat({"type": "image", "source": _SOURCE}), 4),
        (_chat({"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}), 0),
        (_chat({"type": "tool_result", "content": [{"type": "image", "source": _SOURCE}]}), 4),
        (
            _chat(
                {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": _SOURCE}]}}
            ),
            4,
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}]}, len(PNG)),
        (
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": PNG}]}]},
            len(PNG),
        ),
        ({"input": [{"type": "image_url", "image_url": {"url": PNG}}]}, len(PNG)),
    ],
)
def test_images_are_counted_with_the_bytes_that_they_are(document: dict[str, Any], size: int) -> None:
    assert _read(document) == Content(images=1, image_bytes=size)


def test_sound_is_noticed() -> None:
    assert _read(_chat({"type": "input_audio", "input_audio": {"data": "AAAA"}})) == Content(sound=True)


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AA"}}, ""),
        ({"type": "image_url", "image_url": {"url": "gs://bucket/x"}}, ""),
        ({"type": "image_url", "image_url": {}}, ""),
        ({"type": "input_image", "file_id": "file-1"}, ""),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ""),
        ({"type": "image", "source": {**_SOURCE, "media_type": ["image/png"]}}, ""),
        ({"type": "image", "source": None}, ""),
        ({"type": "file", "file": {"file_id": "file-1"}}, ""),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}, ""),
        ({"type": "file", "file": {"file_data": "data:text/plain,x", "file_id": "file-1"}}, ""),
        ({"type": "file", "file": "x"}, ""),
        ({"type": "input_file", "file_url": "https://example.com/x"}, ""),
        ({"type": "document", "source": {"type": "base64", "data": "AA"}}, ""),
        ({"type": "document"}, ""),
        ({"type": "video_url"}, ""),
        ({"type": ["text"]}, ""),
        ({"type": {}}, ""),
        ({"text": "of no type"}, ""),
        ({"type": "tool_result", "content": [{"type": "container_upload"}]}, ".content[0]"),
    ],
)
def test_what_nobody_can_bound_is_named_by_its_path(part: dict[str, Any], where: str) -> None:
    assert _read(_chat({"type": "text", "text": "x"}, part)).unbounded == f"messages[0].content[1]{where}"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"messages": [{"role": "assistant", "audio": {"id": "audio-1"}}]}, "messages[0].audio"),
        ({"system": [{"type": "image", "source": None}]}, "system[0]"),
        ({"input": ["x", {"type": "item_reference", "id": "i"}]}, "input[1]"),
        ({"input": [{"type": ["message"]}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0]"),
    ],
)
def test_the_path_leads_to_where_it_stands(document: dict[str, Any], path: str) -> None:
    assert _read(document).unbounded == path


def test_images_have_no_bound_where_the_provider_names_none() -> None:
    inline, remote = ({"type": "image_url", "image_url": {"url": url}} for url in (PNG, "http://example.com"))
    assert _read(_chat(inline), images=False).unbounded == "messages[0].content[0]"
    assert _read(_chat(inline), image_urls=False) == Content(images=1, image_bytes=len(PNG))
    assert _read(_chat(remote), image_urls=False).unbounded == "messages[0].content[0]"


def test_parts_within_parts_end_somewhere() -> None:
    part: dict[str, Any] = {"type": "text", "text": "x"}
    for _ in range(200):
        part = {"type": "tool_result", "content": [part]}
    assert _read(_chat(part)).unbounded.startswith("messages[0].content[0].content")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["text", "image", "url", "message", PNG, "base64"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "content", "source", "image_url", "url", "data", "file", "output", "role", "audio"]
            ),
            inner,
        )
    ),
    max_leaves=30,
)


@given(_JSON, _JSON, _JSON)
def test_nothing_that_json_can_hold_breaks_the_reading(messages: Any, system: Any, items: Any) -> None:
    document = {"messages": [messages, {"content": [messages]}], "system": system, "input": [items]}
    content = _read(document)
    assert content.images >= 0
    assert _read({"messages": messages, "input": items}).image_bytes >= 0
