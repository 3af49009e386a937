"""The recorded traffic of real providers, where it is there; `GATEWAY_WIRE_DATA` names its folder.

The default is shared/data/wire beside the repository.
"""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

_BESIDE = Path(__file__).parents[1].parent / "shared" / "data" / "wire"
DATA = Path(os.environ.get("GATEWAY_WIRE_DATA", _BESIDE))

needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here")


@cache
def recorded(provider: str) -> tuple[dict[str, Any], ...]:
    """Every recorded exchange with `provider`; none where the recordings are not there."""
    path = DATA / f"{provider}.jsonl.gz"
    if not path.exists():
        return ()
    with gzip.open(path) as lines:
        return tuple(map(orjson.loads, lines))


def place(row: dict[str, Any]) -> str:
    """What names a recording in lists and failures."""
    return f"{row['source']}:{row['source_path']}"


def body_of(row: dict[str, Any]) -> bytes:
    """The answer's bytes as the client received them, or as near as the recording has them."""
    response = row["response"]
    return response.encode() if isinstance(response, str) else orjson.dumps(response)


def splits(data: bytes, seed: int = 0) -> Iterator[list[bytes]]:
    """`data` in one piece, byte by byte where it is short, and in random pieces."""
    yield [data]
    if len(data) <= 4096:
        yield [data[at : at + 1] for at in range(len(data))]
    rng = random.Random(seed)
    for largest in (7, 97, 1500):
        pieces = []
        at = 0
        while at < len(data):
            size = rng.randint(1, largest)
            pieces.append(data[at : at + size])
            at += size
        yield pieces
