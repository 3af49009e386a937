"""`Tokenizers`: counts texts with tiktoken, away from the loop."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_log = logging.getLogger("gateway.tokenizers")

# What tiktoken 0.14 calls the file of an encoding in its cache, and what is to be in it: else it would fetch another.
_RANKS: Final[Mapping[str, tuple[str, str]]] = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
_FOLDER: Final = ("litellm_core_utils", "tokenizers")
_CACHE: Final = "TIKTOKEN_CACHE_DIR"
# Half a second's work for the worst of texts, a fiftieth of one for prose.
MOST_CHARACTERS: Final = 1 << 20
_MOST_WAITING: Final = 8
_PATIENCE_S: Final = 2.0

Texts = Sequence[tuple[str, ...]]


def ranks_folder() -> Path | None:
    """Where the ranks are; None unless tiktoken and they are installed. Imports neither."""
    if find_spec("tiktoken") is None or (found := find_spec("litellm")) is None:
        return None
    for place in found.submodule_search_locations or ():
        folder = Path(place, *_FOLDER)
        if folder.is_dir():
            return folder
    return None


def load_encoding(folder: Path, name: str) -> Any:
    """tiktoken's encoding of that name, from the ranks in `folder`; blocks for some tenths of a second.

    Raises KeyError, ImportError, OSError, or ValueError for a file that is not the one it should be.
    """
    file, sha256 = _RANKS[name]
    if hashlib.sha256((folder / file).read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{file} does not hold the ranks of {name}")
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        return import_module("tiktoken").get_encoding(name)
    finally:
        if before is None:
            del os.environ[_CACHE]
        else:
            os.environ[_CACHE] = before


class Tokenizers:
    """One per worker; `load` gives an encoding by its name. `close` it at the end."""

    def __init__(self, load: Callable[[str], Any], patience_s: float = _PATIENCE_S) -> None:
        self._load = load
        self._patience_s = patience_s
        self._encodings: dict[str, Any] = {}  # None for one that cannot be had
        self._thread = ThreadPoolExecutor(1, "tokenizers")
        self._waiting = 0

    @classmethod
    def found(cls, patience_s: float = _PATIENCE_S) -> Tokenizers | None:
        """What is installed; None where there is nothing."""
        folder = ranks_folder()
        return None if folder is None else cls(lambda name: load_encoding(folder, name), patience_s)

    async def count(self, encodings: Sequence[str], texts: Texts) -> int | None:
        """Tokens of all texts together in that of the encodings in which they are most; None where nobody can say.

        A text in several parts counts for what it is in one piece or in parts, whichever is more: providers may join
        them. Waits no longer than `patience_s`.
        """
        characters = sum(len(part) for text in texts for part in text)
        if characters > MOST_CHARACTERS or self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        try:
            counting = asyncio.get_running_loop().run_in_executor(self._thread, self._most, encodings, texts)
            return await asyncio.wait_for(counting, self._patience_s)
        except TimeoutError:
            return None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Count nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- in the thread --------------------------------------------------------------------------------

    def _most(self, encodings: Sequence[str], texts: Texts) -> int | None:
        most = 0
        for name in encodings:
            encoding = self._encoding(name)
            if encoding is None:
                return None
            try:
                most = max(most, sum(_tokens(encoding, text) for text in texts))
            except BaseException as error:  # what panics in Rust is no Exception
                _log.warning("%s cannot count a text: %s", name, type(error).__name__)
                return None
        return most

    def _encoding(self, name: str) -> Any:
        if name not in self._encodings:
            self._encodings[name] = None
            began = time.perf_counter()
            try:
                self._encodings[name] = self._load(name)
            except BaseException as error:
                _log.warning("tokens of %s cannot be counted, so that their bytes are: %s", name, error)
            else:
                _log.info("loaded %s in %.2f s", name, time.perf_counter() - began)
        return self._encodings[name]


def _tokens(encoding: Any, text: tuple[str, ...]) -> int:
    count = sum(len(encoding.encode(part, disallowed_special=())) for part in text)
    return count if len(text) == 1 else max(count, len(encoding.encode("".join(text), disallowed_special=())))
