"""Entries for the ledger's tests."""

from __future__ import annotations

from uuid import UUID

from gateway.services.ledger.entry import Entry, render_scope
from gateway.wire.usage import Usage

KEY_ID = UUID("01890000-0000-7000-8000-00000000000a")

# `complete(entry(1))` as a worker wrote it before there were search units.
WRITTEN_BEFORE_SEARCH_UNITS = (
    rb"Eda974f2f01890000-0000-7000-8000-000000000001 1 1790000000000001 01890000-0000-7000-8000-00000000000a"
    rb" \N \N \N \N lab gpt-4o-mini gpt-4o-mini-2024-07-18 chat.completions"
    rb" f t ok 200 \N 100 50 10 0 0 0 0 0 0 12345 f 321 45"
).replace(b" ", b"\t") + b"\n"


def request_id(number: int) -> str:
    return f"01890000-0000-7000-8000-{number:012x}"


def scope(*, model_name: str = "gpt-4o-mini") -> str:
    return render_scope(
        key_id=KEY_ID,
        team_id=None,
        user_id=None,
        provider_id=None,
        model_id=None,
        provider_name="lab",
        model_name=model_name,
        target_model="gpt-4o-mini-2024-07-18",
        endpoint="chat.completions",
    )


def entry(number: int, *, attempt: int = 1) -> Entry:
    """An attempt as it is before it is sent: 7 prompt tokens and 700 nano-dollars are reserved."""
    return Entry(
        request_id(number), attempt, 1_790_000_000_000_000 + number, scope(), expected_prompt=7, cost_nano_usd=700
    )


def complete(one: Entry) -> Entry:
    """The same attempt after a good answer."""
    one.usage = Usage(prompt=100, completion=50, cached=10)
    one.cost_nano_usd = 12_345
    one.status = 200
    one.duration_ms = 321
    one.first_byte_ms = 45
    return one
