"""docs/errors.md tells of every failure, as the table in errors.py has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import FAILURES
from gateway.server.error_page import MEANINGS, with_table

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


def test_every_code_has_a_meaning_and_no_meaning_is_left_over() -> None:
    assert MEANINGS.keys() == FAILURES.keys()


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text, "run `make docs`"


def test_every_code_stands_in_the_page_with_its_status_and_in_words() -> None:
    text = PAGE.read_text()
    for code, failure in FAILURES.items():
        assert f"| {failure.status} | `{code}` | `{failure.type}` |" in text
        assert f"- `{code}`: " in text


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_table("# Errors\n")
