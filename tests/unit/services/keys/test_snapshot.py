from __future__ import annotations

import pytest

from gateway.services.keys import snapshot as module
from gateway.services.keys.key import Key
from gateway.services.keys.snapshot import Snapshot


def key(key_id: str, team_id: str | None = None, name: str = "") -> Key:
    return Key(id=key_id, name=name, team_id=team_id)


def make(size: int = 3, negative: int = 3, negative_s: float = 10.0) -> Snapshot:
    return Snapshot(size=size, refused_size=negative, refused_ttl_s=negative_s)


def test_the_least_recently_used_key_goes_first() -> None:
    snapshot = make(size=3)
    watch = snapshot.watch()
    for name in "abc":
        assert snapshot.keep(name, key(name), watch)
    snapshot.touch("a")
    snapshot.keep("d", key("d"), watch)
    assert [name for name in "abcd" if snapshot.get(name)] == ["a", "c", "d"]
    assert sorted(snapshot.warm_ids()) == ["a", "c", "d"]
    assert len(snapshot) == 3


def test_a_change_drops_the_key_and_no_other() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.keep("token-a", key("a"), watch)
    snapshot.keep("token-b", key("b"), watch)
    snapshot.forget("a")
    snapshot.forget("never seen")
    assert snapshot.get("token-a") is None
    assert snapshot.get("token-b") is not None


def test_an_answer_older_than_a_change_of_its_key_is_not_kept() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.forget("a")
    assert not snapshot.keep("token-a", key("a"), watch)
    assert snapshot.get("token-a") is None
    assert snapshot.keep("token-b", key("b"), watch)
    assert snapshot.keep("token-a", key("a"), snapshot.watch())


def test_an_answer_older_than_a_change_of_its_team_is_not_kept() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.forget_holder("t")
    assert not snapshot.keep("token-a", key("a", team_id="t"), watch)
    assert snapshot.keep("token-b", key("b"), watch)


def test_a_changed_team_drops_its_keys() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.keep("token-a", key("a", team_id="t"), watch)
    snapshot.keep("token-b", key("b", team_id="u"), watch)
    snapshot.forget_holder("t")
    assert snapshot.warm_ids() == ["b"]


def test_a_watch_that_was_closed_hears_nothing_more() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.unwatch(watch)
    snapshot.forget("a")
    snapshot.doubt()
    assert not watch.any
    assert not watch.everything


def test_doubt_spoils_answers_on_their_way_and_leaves_what_is_warm() -> None:
    snapshot = make()
    snapshot.keep("token-a", key("a"), snapshot.watch())
    watch = snapshot.watch()
    snapshot.doubt()
    assert not snapshot.keep("token-b", key("b"), watch)
    assert snapshot.get("token-a") is not None


def test_refused_tokens_are_bounded_in_number() -> None:
    snapshot = make(negative=3)
    watch = snapshot.watch()
    for name in "abcde":
        assert snapshot.refuse(name, "invalid_api_key", watch)
    assert snapshot.refused_count == 3
    assert [name for name in "abcde" if snapshot.refusal(name)] == ["c", "d", "e"]


def test_refused_tokens_are_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    snapshot = make(negative_s=10)
    snapshot.refuse("a", "disabled_api_key", snapshot.watch())
    now_s = 109.9
    assert snapshot.refusal("a") == "disabled_api_key"
    now_s = 110.0
    assert snapshot.refusal("a") is None
    assert snapshot.refused_count == 0


def test_any_change_forgets_all_refusals_and_those_on_their_way() -> None:
    snapshot = make()
    watch = snapshot.watch()
    snapshot.refuse("a", "invalid_api_key", watch)
    snapshot.forget("some new key")
    assert snapshot.refusal("a") is None
    assert not snapshot.refuse("a", "invalid_api_key", watch)
    assert snapshot.refusal("a") is None


def test_replace_puts_in_what_was_found_and_drops_what_was_not() -> None:
    snapshot = make()
    for name in "abc":
        snapshot.keep(name, key(name), snapshot.watch())
    watch = snapshot.watch()
    snapshot.replace(["a", "b", "long gone"], [key("a", name="new"), key("long gone")], watch)
    assert snapshot.get("a").name == "new"  # type: ignore[union-attr]
    assert sorted(snapshot.warm_ids()) == ["a", "c"]
    assert len(snapshot) == 2


def test_replace_keeps_nothing_that_changed_since_it_was_asked() -> None:
    snapshot = make()
    snapshot.keep("a", key("a"), snapshot.watch())
    watch = snapshot.watch()
    snapshot.forget("a")
    snapshot.keep("a", key("a", name="read anew"), snapshot.watch())
    snapshot.replace(["a"], [key("a", name="old")], watch)
    assert snapshot.get("a").name == "read anew"  # type: ignore[union-attr]


def test_a_doubt_while_keys_are_read_again_leaves_them_in_force() -> None:
    snapshot = make()
    snapshot.keep("a", key("a", name="before"), snapshot.watch())
    watch = snapshot.watch()
    snapshot.doubt()
    snapshot.replace(["a"], [key("a", name="maybe old")], watch)
    assert snapshot.get("a").name == "before"  # type: ignore[union-attr]
