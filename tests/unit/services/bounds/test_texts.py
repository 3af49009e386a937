"""Texts whose tokens are counted in place of their bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers.price import PriceOverride, make_price
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.texts import Counted, size_of, texts_of
from gateway.services.bounds.worst_case import worst_case
from gateway.services.tokenizers.service import load_encoding, ranks_folder
from tests.ranks import needs_ranks

PRICE = make_price(PriceOverride(1_000, 1_000))
BILLING = PROVIDERS["openai"].billing
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, [("a",), ("b",)]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]}]}, [("a",)]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}]}, [("a", "b")]),
        ({"input": "a", "instructions": "b"}, [("b",), ("a",)]),
        ({"input": ["a", "b"]}, [("a",), ("b",)]),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, [("a",)]),
        ({"prompt": ["a", "b"]}, [("a",), ("b",)]),
        ({"input": [1, 2], "prompt": [[1], [2]]}, []),
        # What is written anew before it is counted, or may be.
        ({"messages": [{"role": "tool", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "a"}]}]}, []),
        ({"messages": [{"role": "user", "content": [{"type": "file", "text": "a"}, {"type": "text"}]}]}, []),
        ({"tools": [{"name": "a"}], "user": "a", "response_format": {"type": "a"}, "metadata": {"text": "a"}}, []),
        # What is no request at all.
        ({"messages": "a", "input": 7, "prompt": {"a": "b"}, "system": None}, []),
        ({"messages": [7, None, {"role": []}, {"role": "user", "content": 7}, {"role": "user", "content": [7]}]}, []),
    ],
)
def test_plain_texts_are_found_and_nothing_else(document: dict[str, Any], texts: list[tuple[str, ...]]) -> None:
    assert texts_of(document) == texts


WORDS = st.sampled_from(
    ["hello", " world", "\n\n", "12345", "  ", "ß", "日本語", "😀", "<|endoftext|>", "e\u0301", '{"a":']
)
TEXTS = st.text(max_size=200) | st.lists(WORDS, max_size=200).map("".join)
PARTS = st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}) | st.just(PICTURE)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": TEXTS | st.lists(PARTS, max_size=4)},
    optional={"name": st.sampled_from(["ann", "bob"])},
)


@cache
def encoding(name: str) -> Any:
    folder = ranks_folder()
    assert folder is not None
    return load_encoding(folder, name)


def tokens_of(name: str, text: str) -> int:
    return len(encoding(name).encode(text, disallowed_special=()))


def billed(name: str, message: dict[str, Any]) -> int:
    """A message's tokens in a chat, three around it and one for its name's place, as OpenAI's own recipe has it.

    https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken (read 2026-11)
    """
    content = message["content"]
    texts = [content] if type(content) is str else [part["text"] for part in content if "text" in part]
    joined = max(tokens_of(name, "".join(texts)), sum(tokens_of(name, text) for text in texts))
    named = 1 + tokens_of(name, message["name"]) if "name" in message else 0
    return 3 + tokens_of(name, message["role"]) + joined + named


@needs_ranks
@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@settings(deadline=None)  # the first has to load it
@given(messages=st.lists(MESSAGES, min_size=1, max_size=5), ascii_only=st.booleans())
def test_a_prompt_by_its_tokens_is_no_more_than_by_its_bytes_and_no_less_than_what_is_billed(
    name: str, messages: list[dict[str, Any]], ascii_only: bool
) -> None:
    chat = {"model": "gpt-4o", "messages": messages}
    body = orjson.dumps(chat)
    size = len(body.decode().encode("ascii", "backslashreplace")) if ascii_only else len(body)
    texts = texts_of(chat)
    tokens = [max(sum(tokens_of(name, part) for part in text), tokens_of(name, "".join(text))) for text in texts]
    counted = Counted(size_of(texts), sum(tokens))
    by_bytes = worst_case(chat, size, "chat", PRICE, BILLING, "gpt-4o")
    by_tokens = worst_case(chat, size, "chat", PRICE, BILLING, "gpt-4o", counted)
    pictures = sum(type(message["content"]) is list and message["content"].count(PICTURE) for message in messages)
    least = 3 + sum(billed(name, message) for message in messages) + pictures * (BILLING.image_bound("gpt-4o") or 0)
    assert least <= by_tokens.prompt_tokens <= by_bytes.prompt_tokens
    assert by_tokens.nano_usd <= by_bytes.nano_usd
