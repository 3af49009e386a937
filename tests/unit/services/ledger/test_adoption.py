from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.services.ledger.adoption import SET_ASIDE, Orphan, find_orphan
from gateway.services.ledger.entry import END_COLUMNS, START_COLUMNS, end_record, start_record
from gateway.services.ledger.journal import Journal, lock
from gateway.services.ledger.segment import segments_of
from gateway.wire.usage import Usage
from tests.unit.services.ledger.entries import complete, entry, request_id

SMALL = 1 << 16


def abandoned(parent: Path, work: Callable[[Journal], None]) -> Path:
    """The directory of a journal whose worker is gone."""
    journal = Journal(parent, segment_bytes=SMALL, fsync="never")
    work(journal)
    journal.close()
    return journal.directory


def adopted(parent: Path) -> Orphan:
    orphan = find_orphan(parent, skip=frozenset())
    assert orphan is not None
    return orphan


def ids(orphan: Orphan, *, unknown: bool) -> list[str]:
    batches = [batch for batch in orphan.batches(7) if batch.unknown == unknown]
    return [row.split(b"\t")[0].decode() for batch in batches for row in batch.rows]


def mixed(journal: Journal) -> None:
    for number in range(300):
        one = entry(number)
        journal.start(one)
        if number % 10:
            journal.end(complete(one))


def test_ends_are_rows_and_starts_without_an_end_are_unknown(tmp_path: Path) -> None:
    directory = abandoned(tmp_path, mixed)
    assert len(segments_of(directory)) > 1
    orphan = adopted(tmp_path)
    assert ids(orphan, unknown=False) == [request_id(number) for number in range(300) if number % 10]
    assert sorted(ids(orphan, unknown=True)) == [request_id(number) for number in range(0, 300, 10)]
    assert max(len(batch.rows) for batch in orphan.batches(7)) == 7
    unknown = next(batch for batch in orphan.batches(1000) if batch.unknown)
    assert unknown.columns == START_COLUMNS
    assert unknown.rows[0].endswith(b"\t7\t700\t\\N\t\\N\t\\N")
    orphan.remove()
    assert list(tmp_path.iterdir()) == []


def test_ends_with_and_without_search_units_are_rows_of_the_same_columns(tmp_path: Path) -> None:
    """A journal that was written before there were any holds only those without."""

    def work(journal: Journal) -> None:
        for number, units in enumerate((0, 2, 0)):
            one = entry(number)
            journal.start(one)
            complete(one).usage = Usage(5, search_units=units)
            journal.end(one)

    abandoned(tmp_path, work)
    orphan = adopted(tmp_path)
    (batch,) = orphan.batches(10)
    assert batch.columns == END_COLUMNS
    rows = [dict(zip(END_COLUMNS, row.decode().split("\t"), strict=True)) for row in batch.rows]
    assert [row["search_units"] for row in rows] == ["0", "2", "0"]
    assert {row["input_tokens"] for row in rows} == {"5"}
    orphan.remove()


def test_starts_with_and_without_details_are_rows_of_the_same_columns(tmp_path: Path) -> None:
    def work(journal: Journal) -> None:
        for number, budgets in enumerate(("", "{7,8}", "")):
            one = entry(number)
            one.budgets = budgets
            journal.start(one)

    abandoned(tmp_path, work)
    orphan = adopted(tmp_path)
    (batch,) = orphan.batches(10)
    assert batch.unknown
    rows = sorted(
        (dict(zip(START_COLUMNS, row.decode().split("\t"), strict=True)) for row in batch.rows),
        key=lambda row: row["request_id"],
    )
    assert [row["budget_period_ids"] for row in rows] == [r"\N", "{7,8}", r"\N"]
    assert {row["cost_nano_usd"] for row in rows} == {"700"}
    orphan.remove()


def test_attempts_of_one_request_are_told_apart(tmp_path: Path) -> None:
    def work(journal: Journal) -> None:
        first, second = entry(1, attempt=1), entry(1, attempt=2)
        journal.start(first)
        journal.end(complete(first))
        journal.start(second)

    abandoned(tmp_path, work)
    orphan = adopted(tmp_path)
    assert [row.split(b"\t")[1] for batch in orphan.batches(10) if batch.unknown for row in batch.rows] == [b"2"]
    orphan.remove()


def test_a_journal_whose_worker_lives_is_not_adopted(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SMALL, fsync="never")
    assert find_orphan(tmp_path, skip=frozenset()) is None
    journal.close()


def test_of_two_finders_only_one_gets_the_journal(tmp_path: Path) -> None:
    abandoned(tmp_path, mixed)
    first = adopted(tmp_path)
    assert find_orphan(tmp_path, skip=frozenset()) is None
    first.release()
    second = adopted(tmp_path)
    second.remove()
    assert find_orphan(tmp_path, skip=frozenset()) is None


def test_a_lock_on_a_journal_that_was_removed_meanwhile_is_worth_nothing(tmp_path: Path) -> None:
    directory = abandoned(tmp_path, mixed)
    orphan = adopted(tmp_path)
    orphan.remove()
    with pytest.raises(FileNotFoundError):
        lock(directory)


def test_an_empty_directory_left_by_a_worker_that_died_at_its_start_goes_too(tmp_path: Path) -> None:
    (tmp_path / "01890000-0000-7000-8000-000000000001").mkdir()
    orphan = adopted(tmp_path)
    assert list(orphan.batches(10)) == []
    orphan.remove()
    assert list(tmp_path.iterdir()) == []


def test_files_and_directories_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "dead-letters.ndjson").write_text("{}\n")
    assert find_orphan(tmp_path, skip=frozenset()) is None
    assert len(list(tmp_path.iterdir())) == 2


def test_a_journal_with_foreign_files_in_it_is_set_aside_once_it_is_copied(tmp_path: Path) -> None:
    directory = abandoned(tmp_path, mixed)
    (directory / "notes.txt").write_text("mine")
    orphan = adopted(tmp_path)
    orphan.remove()
    assert find_orphan(tmp_path, skip=frozenset()) is None
    assert (tmp_path / SET_ASIDE / directory.name / "notes.txt").read_text() == "mine"


@settings(max_examples=60, deadline=None)
@given(garbage=st.binary(min_size=1, max_size=300), seed=st.integers(0, 2**32))
def test_garbage_anywhere_costs_no_record_that_it_does_not_touch(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, seed: int
) -> None:
    parent = tmp_path_factory.mktemp("garbage")
    ones = [entry(number) for number in range(6)]
    lines = [start_record(one) for one in ones] + [end_record(complete(one)) for one in ones]
    at = random.Random(seed).randrange(len(lines) + 1)
    directory = parent / "01890000-0000-7000-8000-000000000001"
    directory.mkdir()
    # A newline after the garbage: what it runs into is damaged like it.
    lines.insert(at, garbage + b"\n")
    (directory / "000001.journal").write_bytes(b"".join(lines) + bytes(4096))
    orphan = adopted(parent)
    assert ids(orphan, unknown=False) == [one.request_id for one in ones]
    assert ids(orphan, unknown=True) == []
    kept = [piece.lstrip(b"\0") for piece in (garbage + b"\n").split(b"\n")]
    assert orphan.garbage_bytes == sum(map(len, kept))
    if orphan.garbage_bytes:
        assert (parent / SET_ASIDE / f"{directory.name}.garbage").stat().st_mode & 0o077 == 0
    orphan.remove()
