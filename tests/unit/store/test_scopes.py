"""What applies to whom."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.scopes import SCOPES, ScopeIndex


@dataclass(frozen=True)
class Thing:
    id: str
    scope: str
    subject: str = ""
    model: str | None = None


def ids(things: tuple[Thing, ...]) -> list[str]:
    return [thing.id for thing in things]


THINGS = [
    Thing("g", "global"),
    Thing("o", "organisation", "o1"),
    Thing("t", "team", "t1"),
    Thing("u", "user", "u1"),
    Thing("k", "key", "k1"),
    Thing("k2", "key", "k1"),
    Thing("tm", "team", "t1", "m1"),
    Thing("km", "key", "k1", "m1"),
    Thing("m", "model", "m1"),
    Thing("p", "provider", "lab"),
    Thing("pm", "target", "lab/m"),
    Thing("other", "key", "k9"),
]


def test_all_that_applies_to_a_caller_is_found_and_nothing_else() -> None:
    index = ScopeIndex(THINGS)
    assert ids(index.of_caller("o1", "t1", "u1", "k1")) == ["g", "o", "t", "u", "k", "k2"]
    assert ids(index.of_caller(None, None, None, None)) == ["g"]
    assert ids(index.of_model("t1", "k1", "m1")) == ["m", "tm", "km"]
    assert ids(index.of_model(None, None, "m2")) == []
    assert ids(index.of_target("lab", "lab/m")) == ["p", "pm"]


def test_nobody_without_an_id_gets_what_is_set_on_everybody_twice() -> None:
    assert ids(ScopeIndex([Thing("g", "global")]).of_model(None, None, "m")) == []


_things = st.builds(
    Thing, st.sampled_from("abcdef"), st.sampled_from(SCOPES), st.sampled_from(["", "x", "y"]), st.none() | st.just("m")
)


@given(st.lists(st.tuples(st.booleans(), _things), max_size=40))
def test_an_index_that_is_changed_is_the_one_that_is_made_anew(steps: list[tuple[bool, Thing]]) -> None:
    index: ScopeIndex[Thing] = ScopeIndex()
    left: dict[str, Thing] = {}
    for puts, thing in steps:
        if puts:
            index.put(thing)
            left[thing.id] = thing
        else:
            index.remove(thing.id)
            left.pop(thing.id, None)
    assert {thing.id: thing for thing in index} == left
    for scope in SCOPES:
        for subject in ("", "x", "y"):
            for model in (None, "m"):
                expected = {t.id for t in left.values() if (t.scope, t.subject, t.model) == (scope, subject, model)}
                assert {thing.id for thing in index.at(scope, subject, model)} == expected
