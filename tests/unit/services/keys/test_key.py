from __future__ import annotations

import pytest

from gateway.services.keys.key import DEFAULT_ENDPOINTS, NAMED_ENDPOINTS, AllowList, Key

MASTER = Key(id=None, name="master", is_master=True)


def key_with(*models: str) -> Key:
    return Key(id="1", name="k", models=AllowList(models))


def test_a_key_without_a_list_may_use_all_declared_models_and_no_undeclared_one() -> None:
    key = Key(id="1", name="k")
    assert key.allows_model("gpt-4o")
    assert key.allows_model("meta-llama/Llama-3")
    assert not key.allows_direct("openai/gpt-4o")


def test_the_master_key_may_use_everything() -> None:
    assert MASTER.allows_model("gpt-4o")
    assert MASTER.allows_direct("openai/gpt-4o")
    assert all(MASTER.allows_endpoint(name) for name in DEFAULT_ENDPOINTS | NAMED_ENDPOINTS)


@pytest.mark.parametrize(
    ("entry", "name", "allowed"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "GPT-4o", False),
        ("gpt-*", "gpt-4o-mini", True),
        ("gpt-*", "o1", False),
        ("*", "anything", True),
        ("*-mini", "gpt-4o-mini", True),
        ("g*o*i", "gpt-4o-mini", True),
        ("gpt.4o", "gpt-4o", False),
        ("gpt-[4]o", "gpt-4o", False),
        ("gpt-*", "gpt-\n", True),
    ],
)
def test_a_list_names_models_exactly_or_by_glob(entry: str, name: str, *, allowed: bool) -> None:
    key = key_with(entry)
    assert key.allows_model(name) is allowed
    assert key.allows_model(name) is allowed  # from the verdicts kept


@pytest.mark.parametrize(
    ("entry", "name", "allowed"),
    [
        ("openai/gpt-4o", "openai/gpt-4o", True),
        ("openai/*", "openai/gpt-4o", True),
        ("openai/*", "lab/gpt-4o", False),
        ("*", "openai/gpt-4o", False),
        ("*/*", "openai/gpt-4o", True),
        ("gpt-4o", "openai/gpt-4o", False),
    ],
)
def test_an_undeclared_model_needs_an_entry_with_a_slash(entry: str, name: str, *, allowed: bool) -> None:
    key = key_with(entry)
    assert key.allows_direct(name) is allowed
    assert key.allows_direct(name) is allowed


def test_verdicts_on_a_declared_and_an_undeclared_model_of_one_name_are_kept_apart() -> None:
    key = key_with("*")
    assert key.allows_model("openai/gpt-4o")
    assert not key.allows_direct("openai/gpt-4o")
    assert key.allows_model("openai/gpt-4o")


def test_the_verdicts_kept_are_bounded_in_number_and_length() -> None:
    allowed = AllowList(("gpt-*",))
    for number in range(5000):
        assert allowed.allows(f"gpt-{number}")
    assert not allowed.allows("gpt-" + "x" * 100_000)
    assert len(allowed._verdicts) <= 256
    assert max(map(len, allowed._verdicts)) <= 513


def test_endpoints_that_hold_data_must_be_named() -> None:
    key = Key(id="1", name="k")
    assert all(key.allows_endpoint(name) for name in DEFAULT_ENDPOINTS)
    assert not any(key.allows_endpoint(name) for name in NAMED_ENDPOINTS)


def test_a_list_of_endpoints_stands_for_itself_and_default_adds_the_usual_ones() -> None:
    files = Key(id="1", name="k", endpoints=frozenset({"files"}))
    assert files.allows_endpoint("files")
    assert not files.allows_endpoint("chat")
    assert not files.allows_endpoint("batches")
    both = Key(id="1", name="k", endpoints=frozenset({"files", "default"}))
    assert both.allows_endpoint("files")
    assert both.allows_endpoint("chat")


def test_every_key_may_ask_what_it_may_do() -> None:
    key = Key(id="1", name="k", endpoints=frozenset({"embeddings"}))
    assert key.allows_endpoint("models")
    assert key.allows_endpoint("key")
