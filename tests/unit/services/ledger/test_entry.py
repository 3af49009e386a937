from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.ledger.entry import (
    END_COLUMNS,
    END_MARGIN_BYTES,
    START_COLUMNS,
    bounded_end_record,
    end_record,
    end_row,
    escape,
    is_intact,
    start_record,
    start_row,
    whole_row,
)
from gateway.wire.usage import Usage
from tests.unit.services.ledger.entries import WRITTEN_BEFORE_SEARCH_UNITS, complete, entry, scope


def row(record: bytes) -> dict[str, str]:
    """An end record's fields by column."""
    fields = end_row(record[:-1])
    assert fields is not None
    return dict(zip(END_COLUMNS, fields.decode().split("\t"), strict=True))


def test_records_have_one_field_for_each_column_and_end_in_a_newline() -> None:
    one = entry(1)
    start = start_record(one)
    end = end_record(complete(one))
    assert start.startswith(b"S")
    assert start.count(b"\n") == end.count(b"\n") == 1
    assert len(start_row(start[:-1]).split(b"\t")) == len(START_COLUMNS)
    fields = row(end)
    assert fields["request_id"] == one.request_id
    assert fields["team_id"] == r"\N"
    assert fields["error_code"] == r"\N"
    assert fields["input_tokens"] == "100"
    assert fields["cached_tokens"] == "10"
    assert fields["cost_nano_usd"] == "12345"
    assert fields["first_byte_ms"] == "45"


@pytest.mark.parametrize("name", [name for name in Usage.__slots__ if name not in ("estimated", "cache_write_1h")])
def test_every_figure_of_the_usage_but_what_is_part_of_another_has_its_own_field(name: str) -> None:
    one = entry(1)
    start_record(one)
    one.usage = Usage(**{name: 991})
    fields = row(end_record(one))
    expected = {
        "prompt": "input_tokens",
        "completion": "output_tokens",
        "audio_in": "audio_input_tokens",
        "audio_out": "audio_output_tokens",
        "image_in": "image_input_tokens",
        "image_out": "image_output_tokens",
        "search_units": "search_units",
    }.get(name, f"{name}_tokens")
    assert [column for column, text in fields.items() if text == "991"] == [expected]


def test_a_record_with_any_byte_changed_is_not_intact() -> None:
    one, other = entry(1), entry(2)
    other.budgets = "{1}"
    records = (start_record(one), end_record(complete(one)), start_record(other), end_record(complete(other)))
    for line in (record[:-1] for record in records):
        assert is_intact(line)
        for position in range(len(line)):
            damaged = bytearray(line)
            damaged[position] ^= 0x10
            assert not is_intact(bytes(damaged)), position
            assert not is_intact(line[:position])
    assert not is_intact(b"E" + start_record(one)[1:-1])
    assert not is_intact(b"S" + end_record(one)[1:-1])


def test_an_end_without_search_units_and_details_is_written_as_before_there_were_any() -> None:
    one = entry(1)
    start_record(one)
    assert end_record(complete(one)) == WRITTEN_BEFORE_SEARCH_UNITS
    assert row(end_record(one))["search_units"] == "0"


def test_search_units_make_a_record_of_another_kind_that_is_no_other_kinds() -> None:
    one = entry(1)
    start = start_record(one)
    one.usage = Usage(search_units=3)
    record = end_record(one)
    assert record.startswith(b"D")
    assert is_intact(record[:-1])
    assert (row(record)["search_units"], row(record)["input_tokens"], row(record)["tags"]) == ("3", "0", r"\N")
    assert not any(is_intact(letter + record[1:-1]) for letter in (b"E", b"S", b"B"))
    assert not is_intact(b"D" + start[1:-1])
    assert end_row(start[:-1]) is None


def test_budgets_end_user_and_tags_are_in_the_start_and_in_the_end() -> None:
    one = entry(1)
    one.budgets, one.end_user, one.tags = "{12,15}", "a\tb", ("web", 'a"\\\n')
    start = start_record(one)
    end = end_record(complete(one))
    begun = dict(zip(START_COLUMNS, start_row(start[:-1]).decode().split("\t"), strict=True))
    expected = {
        "budget_period_ids": "{12,15}",
        "end_user": r"a\tb",
        "tags": r"""{"web","a\\"\\\\\n"}""",
    }
    assert start.startswith(b"B")
    assert end.startswith(b"D")
    assert {name: begun[name] for name in expected} == expected
    assert {name: row(end)[name] for name in expected} == expected
    assert (begun["cost_nano_usd"], row(end)["cost_nano_usd"], row(end)["search_units"]) == ("700", "12345", "0")
    assert not is_intact(b"S" + start[1:-1])
    assert not is_intact(b"E" + end[1:-1])


def test_a_detailed_record_of_another_version_fills_the_columns_that_it_knows() -> None:
    one = entry(1)
    one.budgets, one.tags = "{5}", ("web",)
    start_record(one)
    record = end_record(complete(one))[:-1]
    older = record.rsplit(b"\t", 1)[0]
    newer = record + b"\tmore\tand more"
    fields = row(older + b"\n")
    assert (fields["budget_period_ids"], fields["tags"]) == ("{5}", r"\N")
    assert end_row(newer) == end_row(record)


@pytest.mark.parametrize("detailed", [False, True])
def test_figures_beyond_all_bounds_still_fit_the_room_set_aside(detailed: bool) -> None:
    one = entry(1)
    if detailed:
        one.budgets, one.end_user, one.tags = "{1,2,3}", "\t" * 400, ("x" * 64,) * 10
    room = len(start_record(one)) + END_MARGIN_BYTES
    one.usage = Usage(*[10**400] * 11)
    one.cost_nano_usd = 10**300
    one.error_code = "x" * 5000
    one.status = one.duration_ms = one.first_byte_ms = 10**50
    record = bounded_end_record(one)
    assert len(record) <= room
    assert is_intact(record[:-1])


@given(st.text(max_size=600))
def test_an_escaped_name_holds_nothing_that_ends_a_field_or_a_record(text: str) -> None:
    escaped = escape(text)
    assert not {"\t", "\n", "\r", "\0"} & set(escaped)
    escaped.encode()
    assert escaped.replace("\\\\", "").replace(r"\t", "").replace(r"\n", "").replace(r"\r", "").count("\\") == 0


def test_a_scope_has_nine_fields_whatever_the_names_hold() -> None:
    assert len(scope(model_name="a\tb\\\nc\0").split("\t")) == 9


def test_a_row_that_no_journal_has_is_the_one_that_a_journal_would_have() -> None:
    made = entry(1)
    made.cost_nano_usd, made.budgets = -5, "{3}"
    start_record(made)
    assert whole_row(made) == end_row(end_record(made)[:-1])
    assert whole_row(made).split(b"\t")[END_COLUMNS.index("cost_nano_usd")] == b"-5"


def test_a_row_that_no_journal_has_holds_figures_that_fit_a_column_whatever_they_are() -> None:
    made = entry(1)
    made.usage = Usage(*[10**40] * 10)
    figures = whole_row(made).split(b"\t")
    assert figures[END_COLUMNS.index("input_tokens")] == b"%d" % (2**63 - 1)
