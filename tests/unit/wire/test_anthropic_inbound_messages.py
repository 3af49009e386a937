"""Messages of clients that speak Anthropic's format: what becomes of each block."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from gateway.wire.responses_reasoning import pack
from tests.unit.wire.test_anthropic_inbound import HELLO, canonical, refused, request

PIXEL = "iVBORw0KGgo="


def user(*blocks: Any) -> Any:
    """What one user message with these blocks becomes."""
    made = canonical(request([{"role": "user", "content": list(blocks)}]))["messages"]
    return made[0]["content"] if len(made) == 1 else made


def assistant(*blocks: Any) -> dict[str, Any]:
    made = canonical(request([*HELLO, {"role": "assistant", "content": list(blocks)}]))["messages"]
    assert len(made) == 2
    return dict(made[1])


def test_a_system_prompt_comes_first_as_text_or_as_marked_parts() -> None:
    assert canonical(request(system="Be brief."))["messages"][0] == {"role": "system", "content": "Be brief."}
    one = canonical(request(system=[{"type": "text", "text": "Be brief."}]))["messages"][0]
    assert one == {"role": "system", "content": "Be brief."}
    mark = {"type": "ephemeral", "ttl": "1h"}
    parts = [{"type": "text", "text": "Rules"}, {"type": "text", "text": "More", "cache_control": mark}]
    assert canonical(request(system=parts))["messages"][0] == {"role": "system", "content": parts}
    assert canonical(request(system=""))["messages"] == HELLO
    image = [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]
    assert refused(request(system=image)) == ("unsupported_parameter", "system[0]")


def test_a_system_message_in_the_conversation_keeps_its_place() -> None:
    told = {"role": "system", "content": [{"type": "text", "text": "Now in French."}]}
    assert canonical(request([*HELLO, told]))["messages"] == [*HELLO, {"role": "system", "content": "Now in French."}]


def test_automatic_caching_marks_the_end_of_the_prompt() -> None:
    made = canonical(request(cache_control={"type": "ephemeral"}))
    assert made["messages"] == [{**HELLO[0], "cache_control": {"type": "ephemeral"}}]
    assert "cache_control" not in made


def test_text_parts_keep_their_order_and_their_marks() -> None:
    mark = {"type": "ephemeral"}
    first, second = {"type": "text", "text": "One"}, {"type": "text", "text": "Two", "cache_control": mark}
    assert user(first) == "One"
    assert user(first, second) == [first, second]
    assert user(second) == [second]
    assert user() == ""


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "url", "url": "https://x/y.png"}, "https://x/y.png"),
        ({"type": "base64", "media_type": "image/png", "data": PIXEL}, f"data:image/png;base64,{PIXEL}"),
    ],
)
def test_images_become_image_urls(source: Any, url: str) -> None:
    mark = {"type": "ephemeral"}
    made = user({"type": "image", "source": source, "cache_control": mark})
    assert made == [{"type": "image_url", "image_url": {"url": url}, "cache_control": mark}]


def test_documents_become_files_or_the_text_that_they_are() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    uri = "data:application/pdf;base64,JVBERg=="
    assert user({"type": "document", "source": pdf}) == [
        {"type": "file", "file": {"filename": "document.pdf", "file_data": uri}}
    ]
    titled = user({"type": "document", "source": pdf, "title": "a.pdf", "context": "From the archive"})
    assert titled == [
        {"type": "text", "text": "From the archive"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": uri}},
    ]
    linked = {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}
    assert user(linked) == [{"type": "file", "file": {"file_url": "https://x/a.pdf"}}]
    plain = {"type": "text", "media_type": "text/plain", "data": "The sky is green."}
    assert user({"type": "document", "source": plain, "citations": {"enabled": True}}) == "The sky is green."
    assert user({"type": "document", "source": plain, "title": "Sky"}) == (
        "<document>\n<title>Sky</title>\nThe sky is green.\n</document>"
    )


def test_documents_made_of_blocks_become_their_parts() -> None:
    blocks = [{"type": "text", "text": "One"}, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]
    made = user({"type": "document", "source": {"type": "content", "content": blocks}})
    assert made == [blocks[0], {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    assert user({"type": "document", "source": {"type": "content", "content": "Bare"}}) == "Bare"


def test_search_results_become_text_that_names_its_source() -> None:
    block = {
        "type": "search_result",
        "source": "https://x/doc",
        "title": "Docs",
        "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}],
        "citations": {"enabled": True},
    }
    assert user(block) == (
        "<search_result>\n<title>Docs</title>\n<source>https://x/doc</source>\nOne\n\nTwo\n</search_result>"
    )


@pytest.mark.parametrize(
    ("block", "code", "param"),
    [
        ({"type": "text"}, "missing_field", "messages[0].content[0].text"),
        ({"type": "text", "text": 1}, "invalid_field", "messages[0].content[0].text"),
        ({"text": "x"}, "missing_field", "messages[0].content[0].type"),
        ("x", "invalid_field", "messages[0].content[0]"),
        ({"type": "image"}, "invalid_field", "messages[0].content[0].source"),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            "unsupported_parameter",
            "messages[0].content[0].source",
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png,x", "data": ""}},
            "invalid_field",
            "messages[0].content[0].source.media_type",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": []}},
            "invalid_field",
            "messages[0].content[0].source.content",
        ),
        ({"type": "container_upload", "file_id": "f"}, "unsupported_parameter", "messages[0].content[0]"),
        (
            {"type": "text", "text": "x", "cache_control": "yes"},
            "invalid_field",
            "messages[0].content[0].cache_control",
        ),
        ({"type": "tool_result"}, "missing_field", "messages[0].content[0].tool_use_id"),
    ],
)
def test_blocks_that_cannot_be_read_are_named(block: Any, code: str, param: str) -> None:
    assert refused(request([{"role": "user", "content": [block]}])) == (code, param)


def test_messages_without_content_and_of_other_roles_are_named() -> None:
    assert refused(request([{"role": "user"}])) == ("missing_field", "messages[0].content")
    assert refused(request([{"role": "tool", "content": "x"}])) == ("invalid_field", "messages[0].role")
    assert refused(request([{"role": "user", "content": 5}])) == ("invalid_field", "messages[0].content")


def test_results_of_tools_become_messages_and_come_before_what_the_user_says() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    made = user(
        {"type": "tool_result", "tool_use_id": "t1", "content": "21 degrees"},
        {"type": "text", "text": "And now?"},
        {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [{"type": "text", "text": "No"}]},
        {"type": "tool_result", "tool_use_id": "t3", "content": [{"type": "text", "text": "See"}, image]},
        {"type": "tool_result", "tool_use_id": "t4", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Well?"},
    )
    assert made == [
        {"role": "tool", "tool_call_id": "t1", "content": "21 degrees"},
        {"role": "tool", "tool_call_id": "t2", "content": "No", "is_error": True},
        {
            "role": "tool",
            "tool_call_id": "t3",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t4", "content": "", "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}, {"type": "text", "text": "Well?"}]},
    ]


def test_results_alone_leave_no_user_message() -> None:
    made = canonical(request([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]))
    assert made["messages"] == [{"role": "tool", "tool_call_id": "t", "content": ""}]
    found = {"type": "tool_reference", "tool_name": "weather"}
    (message,) = canonical(
        request([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [found]}]}])
    )["messages"]
    assert message["content"] == "weather"


def test_calls_keep_their_ids_and_their_input() -> None:
    message = assistant(
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "days": [1, 2]}},
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
    )
    assert message["content"] == "Let me look."
    first, second = message["tool_calls"]
    assert first["id"] == "toolu_1"
    assert first["function"]["name"] == "weather"
    assert orjson.loads(first["function"]["arguments"]) == {"city": "Zürich", "days": [1, 2]}
    assert second == {"id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    alone = assistant({"type": "tool_use", "id": "t", "name": "time", "cache_control": {"type": "ephemeral"}})
    assert alone["content"] is None
    assert alone["cache_control"] == {"type": "ephemeral"}


def test_what_anthropics_own_tools_did_is_left_out_and_the_words_about_it_stay() -> None:
    message = assistant(
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "It rains.", "citations": [{"type": "web_search_result_location"}]},
    )
    assert message == {"role": "assistant", "content": "It rains."}
    only = [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]
    assert canonical(request([*HELLO, {"role": "assistant", "content": only}]))["messages"] == HELLO


def test_thinking_keeps_its_signature() -> None:
    message = assistant(
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "Yes."},
    )
    assert message == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "Hm.",
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Hm.",
                "signature": "c2ln",
                "format": "anthropic-claude-v1",
                "index": 0,
            },
            {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "anthropic-claude-v1", "index": 1},
        ],
    }


def test_thinking_between_calls_is_kept_with_the_call_that_it_came_before() -> None:
    message = assistant(
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        {"type": "thinking", "thinking": "Then", "signature": "c2ln"},
        {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
    )
    assert [detail["id"] for detail in message["reasoning_details"]] == ["t2"]


def test_thinking_without_a_signature_is_only_text() -> None:
    message = assistant({"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Yes."})
    assert message == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


def test_foreign_marks_are_taken_out_of_what_goes_to_anthropic_unchanged() -> None:
    foreign = pack([{"type": "reasoning.text", "format": "google-gemini-v1", "signature": "x"}])
    own = {"type": "thinking", "thinking": "b", "signature": "c2ln"}
    web = {"type": "web_search_result_location", "url": "u", "encrypted_index": ""}
    document = request(
        [
            *HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "a", "signature": foreign},
                    own,
                    {"type": "redacted_thinking", "data": foreign},
                    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                    {"type": "thinking", "thinking": "c", "signature": ""},
                    {"type": "text", "text": "Hi", "citations": [web]},
                    {"type": "text", "text": "So", "citations": [web, {"encrypted_index": "e"}]},
                ],
            },
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "c", "signature": ""}]},
        ]
    )
    before = orjson.dumps(document)
    cleaned = without_foreign_marks(document)
    assert orjson.dumps(document) == before
    assert cleaned["messages"] == [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                own,
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "Hi"},
                {"type": "text", "text": "So", "citations": [{"encrypted_index": "e"}]},
            ],
        },
    ]
    plain = request([*HELLO, {"role": "assistant", "content": [own]}])
    assert without_foreign_marks(plain) is plain
