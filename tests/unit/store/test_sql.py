from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.store.sql import load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sql_sample"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sql_sample", raising=False)
    return folder


def test_statements_are_found_by_name_without_the_files_own_comment(package: Path) -> None:
    (package / "queries.sql").write_text(
        "-- About this file.\n\n-- name: one\nSELECT 1\n\n-- name: two\n-- why\nSELECT 2;\n"
    )
    assert load("sql_sample") == {"one": "SELECT 1", "two": "-- why\nSELECT 2;"}


def test_another_file_of_the_package_can_be_named(package: Path) -> None:
    (package / "other.sql").write_text("-- name: only\nSELECT 3")
    assert load("sql_sample", "other.sql") == {"only": "SELECT 3"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2\n", "used twice"),
        ("-- name: a\n-- name: b\nSELECT 2\n", "nothing stands under"),
        ("SELECT 1\n", "no line"),
    ],
)
def test_a_malformed_file_is_refused(package: Path, text: str, complaint: str) -> None:
    (package / "queries.sql").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load("sql_sample")


def test_a_missing_file_is_an_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load("sql_sample")
