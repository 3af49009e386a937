"""The nearest names, and how much work they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from gateway.services.routing import nearest
from gateway.services.routing.nearest import MAX_COMPARED, MAX_LOOKED_AT, NearestNames

MANY = [f"provider-{number % 7}-model-{number:04d}" for number in range(5000)]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many names each search compared in earnest."""
    counts: list[int] = []
    real = difflib.get_close_matches

    def counting(word: str, possibilities: Sequence[str], **options: Any) -> list[str]:
        counts.append(len(possibilities))
        return real(word, possibilities, **options)

    monkeypatch.setattr(nearest.difflib, "get_close_matches", counting)
    return counts


class Names:
    """Counts how often it is read through."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        self.read += 1
        return iter(self.names)


@pytest.mark.parametrize("asked", ["provider-3-model-12345", "x" * 100_000, "", "a", "provider-", "\ud800é"])
def test_few_of_many_names_are_compared_whatever_is_asked_for(asked: str, compared: list[int]) -> None:
    looked_at: list[str] = []

    def allowed(name: str) -> bool:
        looked_at.append(name)
        return name.endswith("7")

    NearestNames(MANY).find(asked, allowed)
    assert compared[0] <= MAX_COMPARED
    assert len(looked_at) <= MAX_LOOKED_AT


def test_the_names_are_indexed_once_and_a_name_asked_for_again_is_not_ranked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranked: list[int] = []
    real = nearest.heapq.nlargest

    def counting(n: int, scored: list[Any]) -> list[Any]:
        ranked.append(len(scored))
        return real(n, scored)

    monkeypatch.setattr(nearest.heapq, "nlargest", counting)
    names = Names(MANY)
    index = NearestNames(names)
    first = [index.find("provider-3-model-99", lambda name: True) for _ in range(50)]
    assert names.read == 1
    assert len(ranked) == 1
    assert all(found == first[0] for found in first)
    for number in range(1000):
        index.find(f"invented-{number}", lambda name: True)
    assert len(index._ranked) <= 256


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("gpt-4o-min", "gpt-4o-mini"),
        ("claude-sonet-4", "claude-sonnet-4"),
        ("sonnet-4-claude", "claude-sonnet-4"),
        ("lama-3.3-70b", "llama-3.3-70b"),
    ],
)
def test_a_slip_of_the_pen_is_found_among_thousands(asked: str, meant: str) -> None:
    index = NearestNames([*MANY, "gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "llama-3.3-70b"])
    assert meant in index.find(asked, lambda name: True)


def test_what_looks_like_nothing_names_nothing() -> None:
    assert NearestNames(["gpt-4o", "claude"]).find("zzzz", lambda name: True) == []
    assert NearestNames([]).find("gpt-4o", lambda name: True) == []
