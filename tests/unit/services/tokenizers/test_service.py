from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.services.tokenizers import service
from gateway.services.tokenizers.service import MOST_CHARACTERS, Tokenizers, load_encoding, ranks_folder
from tests.ranks import needs_ranks

WORDS = ["words"]
BYTES = ["bytes"]


class Panic(BaseException):
    """As what panics in Rust comes to Python."""


class Encoding:
    """Has a token for each of what `split` makes of a text."""

    def __init__(self, split: Callable[[str], Any]) -> None:
        self._split = split

    def encode(self, text: str, *, disallowed_special: tuple[str, ...]) -> Any:
        assert disallowed_special == ()
        return self._split(text)


def panics(text: str) -> Any:
    raise Panic


KNOWN = {"words": Encoding(str.split), "bytes": Encoding(str.encode), "broken": Encoding(panics)}


async def test_the_vocabulary_in_which_the_texts_are_most_tokens_counts() -> None:
    tokenizers = Tokenizers(KNOWN.__getitem__)
    texts = [("one two",), ("three",)]
    assert await tokenizers.count(WORDS, texts) == 3
    assert await tokenizers.count([*WORDS, *BYTES], texts) == await tokenizers.count(BYTES, texts) == 12
    tokenizers.close()


async def test_parts_count_in_one_piece_where_they_are_more_tokens_so() -> None:
    joined = Encoding(lambda text: [text] * (9 if "ab" in text else 1))
    tokenizers = Tokenizers(lambda name: joined if name == "joined" else KNOWN[name])
    assert await tokenizers.count(["joined"], [("xa", "by")]) == 9
    assert await tokenizers.count(WORDS, [("xa", "by")]) == 2
    tokenizers.close()


async def test_a_vocabulary_is_loaded_when_it_is_asked_for_once_and_elsewhere() -> None:
    loaded: list[tuple[str, bool]] = []

    def load(name: str) -> Any:
        loaded.append((name, threading.current_thread() is threading.main_thread()))
        if name not in KNOWN:
            raise OSError("no such file")
        return KNOWN[name]

    tokenizers = Tokenizers(load)
    assert loaded == []
    for _ in range(3):
        assert await tokenizers.count(WORDS, [("a b",)]) == 2
        assert await tokenizers.count(["missing"], [("a b",)]) is None
        assert await tokenizers.count(["words", "missing"], [("a b",)]) is None
    assert loaded == [("words", False), ("missing", False)]
    tokenizers.close()


async def test_a_text_that_cannot_be_counted_is_not_and_the_next_one_is() -> None:
    tokenizers = Tokenizers(KNOWN.__getitem__)
    assert await tokenizers.count(["broken"], [("a",)]) is None
    assert await tokenizers.count(WORDS, [("x" * MOST_CHARACTERS,)]) == 1
    assert await tokenizers.count(WORDS, [("x" * MOST_CHARACTERS,), ("x",)]) is None
    assert await tokenizers.count(WORDS, [("a",)]) == 1
    tokenizers.close()


async def test_nobody_waits_for_long_nor_behind_many() -> None:
    hold = threading.Event()
    slow = Encoding(lambda text: hold.wait(30) and text.split())
    tokenizers = Tokenizers(lambda name: slow, patience_s=0.05)
    began = time.monotonic()
    counts = [asyncio.ensure_future(tokenizers.count(WORDS, [("a",)])) for _ in range(20)]
    await asyncio.sleep(0)
    assert [count.done() for count in counts] == [False] * 8 + [True] * 12
    assert await asyncio.gather(*counts) == [None] * 20
    assert time.monotonic() - began < 5
    hold.set()
    patient = Tokenizers(KNOWN.__getitem__)
    assert await patient.count(WORDS, [("a",)]) == 1
    for each in (tokenizers, patient):
        each.close()


def test_without_tiktoken_or_without_the_ranks_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = service.find_spec
    for missing in ("tiktoken", "litellm"):
        monkeypatch.setattr(service, "find_spec", lambda name, gone=missing: None if name == gone else real(name))
        assert ranks_folder() is None
        assert Tokenizers.found() is None


def test_a_file_that_is_not_the_one_it_should_be_is_left_alone(tmp_path: Path) -> None:
    for file, _ in service._RANKS.values():
        (tmp_path / file).write_bytes(b"IQ== 0\n")
    for name in service._RANKS:
        with pytest.raises(ValueError, match=name):
            load_encoding(tmp_path, name)
    assert len(list(tmp_path.iterdir())) == len(service._RANKS)


# --- the real ones ----------------------------------------------------------------------------------


@needs_ranks
@pytest.mark.parametrize("name", service._RANKS)
def test_loading_fetches_nothing_and_leaves_nothing_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken.load
    import tiktoken.registry

    def fetch(path: str) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr(tiktoken.load, "read_file", fetch)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/mine")
    folder = ranks_folder()
    assert folder is not None
    assert load_encoding(folder, name).name == name
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/mine"
    assert "litellm" not in sys.modules


@needs_ranks
async def test_what_stands_for_a_special_token_counts_as_the_text_that_it_is() -> None:
    tokenizers = Tokenizers.found(patience_s=60)
    assert tokenizers is not None
    for name in service._RANKS:
        assert await tokenizers.count([name], [("hello world",)]) == 2
        assert await tokenizers.count([name], [("<|endoftext|>",)]) > 3  # type: ignore[operator]
    tokenizers.close()


@needs_ranks
@pytest.mark.parametrize("name", service._RANKS)
async def test_the_worst_of_texts_takes_seconds_at_most_and_the_loop_goes_on_meanwhile(name: str) -> None:
    """Where the time grew with the square of a word's length, a tenth of this would take minutes."""
    tokenizers = Tokenizers.found(patience_s=60)
    assert tokenizers is not None
    await tokenizers.count([name], [("load it",)])
    letters = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=MOST_CHARACTERS))
    for text in (letters, "a" * MOST_CHARACTERS, "!" * MOST_CHARACTERS, " " * MOST_CHARACTERS):
        began = time.monotonic()
        counting = asyncio.ensure_future(tokenizers.count([name], [(text,)]))
        turns = 0
        while not counting.done():
            await asyncio.sleep(0.002)
            turns += 1
        took_s = time.monotonic() - began
        assert took_s < 10
        assert turns >= took_s / 0.1  # never without a turn for long
    tokenizers.close()


@needs_ranks
def test_what_providers_are_said_to_count_with_is_what_tiktoken_says() -> None:
    from tiktoken.model import MODEL_PREFIX_TO_ENCODING, MODEL_TO_ENCODING

    openai, azure = PROVIDERS["openai"].billing, PROVIDERS["azure"].billing
    known = {**MODEL_TO_ENCODING, **{f"{start}x": encoding for start, encoding in MODEL_PREFIX_TO_ENCODING.items()}}
    counted = {model: openai.encodings_of(model, "api.openai.com") for model in known}
    assert sum(map(len, counted.values())) > 20
    for model, encodings in counted.items():
        assert encodings in ((), (known[model],)), model
        if encodings:
            assert known[model] in azure.encodings_of(model, "mine.openai.azure.com"), model
