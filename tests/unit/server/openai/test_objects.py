"""Ids from paths, and what a key may store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.openai.objects import checked_id, is_stored, storage_changes
from gateway.services.keys.key import Key

PLAIN = Key("1", "plain")
STORING = Key("2", "storing", endpoints=frozenset({"responses", "responses_stored"}))


@pytest.mark.parametrize("good", ["file-abc", "resp_0", "ftjob-A.b_c-1", "a" * 256, "...a"])
def test_ids_as_providers_give_them_pass(good: str) -> None:
    assert checked_id(good) == good


@given(st.text(max_size=20))
def test_whatever_passes_is_one_segment_of_a_path(text: str) -> None:
    try:
        passed = checked_id(text)
    except GatewayError:
        return
    assert passed.strip(".")
    assert not set(passed) & set("/?#%\\ \r\n\0")


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a%2Fb", "a?b", "a b", "é", "a\n", "a" * 257])
def test_others_do_not(bad: str) -> None:
    with pytest.raises(GatewayError):
        checked_id(bad)


def test_a_key_without_the_word_stores_nothing() -> None:
    assert storage_changes(PLAIN, {}) == {"store": False}
    assert storage_changes(PLAIN, {"store": None}) == {"store": False}
    assert storage_changes(PLAIN, {"store": False}) == {}
    assert storage_changes(STORING, {}) == {}
    assert not is_stored({}, {"store": False})
    assert not is_stored({"store": False}, {})
    assert is_stored({"store": None}, {})


@pytest.mark.parametrize(
    "fields", [{"store": True}, {"background": True}, {"previous_response_id": "r"}, {"conversation": {}}]
)
def test_asking_for_storage_without_the_word_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as raised:
        storage_changes(PLAIN, fields)
    assert (raised.value.status, raised.value.param) == (403, next(iter(fields)))
    assert storage_changes(STORING, fields) == {}
