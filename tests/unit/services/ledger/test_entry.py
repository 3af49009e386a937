from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.ledger.entry import (
    END_COLUMNS,
    END_MARGIN_BYTES,
    PREFIX_BYTES,
    START_COLUMNS,
    bounded_end_record,
    end_record,
    escape,
    is_intact,
    start_record,
)
from gateway.wire.usage import Usage
from tests.unit.services.ledger.entries import complete, entry, scope


def test_records_have_one_field_for_each_column_and_end_in_a_newline() -> None:
    one = entry(1)
    start = start_record(one)
    end = end_record(complete(one))
    assert start.startswith(b"S")
    assert start.count(b"\n") == end.count(b"\n") == 1
    assert len(start[PREFIX_BYTES:-1].split(b"\t")) == len(START_COLUMNS)
    fields = dict(zip(END_COLUMNS, end[PREFIX_BYTES:-1].decode().split("\t"), strict=True))
    assert fields["request_id"] == one.request_id
    assert fields["team_id"] == r"\N"
    assert fields["error_code"] == r"\N"
    assert fields["input_tokens"] == "100"
    assert fields["cached_tokens"] == "10"
    assert fields["cost_nano_usd"] == "12345"
    assert fields["first_byte_ms"] == "45"


@pytest.mark.parametrize("name", [name for name in Usage.__slots__ if name != "estimated"])
def test_every_figure_of_the_usage_has_its_own_field(name: str) -> None:
    one = entry(1)
    start_record(one)
    one.usage = Usage(**{name: 991})
    fields = dict(zip(END_COLUMNS, end_record(one)[PREFIX_BYTES:-1].decode().split("\t"), strict=True))
    expected = {
        "prompt": "input_tokens",
        "completion": "output_tokens",
        "audio_in": "audio_input_tokens",
        "audio_out": "audio_output_tokens",
        "image_in": "image_input_tokens",
        "image_out": "image_output_tokens",
    }.get(name, f"{name}_tokens")
    assert [column for column, text in fields.items() if text == "991"] == [expected]


def test_a_record_with_any_byte_changed_is_not_intact() -> None:
    one = entry(1)
    for line in (start_record(one)[:-1], end_record(complete(one))[:-1]):
        assert is_intact(line)
        for position in range(len(line)):
            damaged = bytearray(line)
            damaged[position] ^= 0x10
            assert not is_intact(bytes(damaged)), position
            assert not is_intact(line[:position])
    assert not is_intact(b"E" + start_record(one)[1:-1])
    assert not is_intact(b"S" + end_record(one)[1:-1])


def test_figures_beyond_all_bounds_still_fit_the_room_set_aside() -> None:
    one = entry(1)
    room = len(start_record(one)) + END_MARGIN_BYTES
    one.usage = Usage(*[10**400] * 9)
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
