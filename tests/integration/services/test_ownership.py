"""The table of owners takes any text for an id: what can be none is nobody's."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.services.ownership.service import Owner, Ownership
from gateway.store.postgres import Postgres

RED, BLUE = Owner(str(uuid.UUID(int=1)), None), Owner(str(uuid.UUID(int=2)), None)
ANY_TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(["a\0", "x" * 257, "\x7f", ""])


@pytest.fixture(autouse=True)
async def teams(postgres: Postgres) -> None:
    """Those of the owners."""
    for owner in (RED, BLUE):
        await postgres.execute("INSERT INTO teams (id, name) VALUES ($1::uuid, $2)", owner.team_id, owner.team_id)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_TEXT)
@example("\0")
@example("\ud800")
async def test_any_text_is_looked_up_and_recorded(postgres: Postgres, text: str) -> None:
    ownership = Ownership(postgres)
    name = ("file", text)
    await ownership.record(RED, "lab", [name, ("file", "file-1")])
    found = await ownership.find_all(RED, [name, ("file", "file-1")])
    assert ("file", "file-1") in found
    recorded = name in found
    assert recorded is (0 < len(text) <= 256 and text.isprintable())
    assert (await ownership.position(RED, "file", text) is not None) is recorded
    assert await ownership.find_all(BLUE, [name]) == {}
    assert await ownership.of_others(BLUE, [name]) == ([name] if recorded else [])
    await ownership.forget("lab", "file", text)
    assert await ownership.find_all(RED, [name]) == {}


@pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 300])
async def test_what_can_be_no_id_is_nobodys_even_to_the_master_key(postgres: Postgres, text: str) -> None:
    ownership = Ownership(postgres)
    master = Owner(None, None, sees_all=True)
    assert await ownership.find(master, "file", text) is None
    assert await ownership.of_others(master, [("file", text)]) == []
