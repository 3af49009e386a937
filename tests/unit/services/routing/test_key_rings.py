"""Keys of providers: in force as a whole, and not forgiven by a reload. And what was made over the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.services.routing.build import Breakers, Surroundings, build_routes
from gateway.services.routing.key_rings import KeyRings
from gateway.settings import Model, Provider, Secret, Settings, SettingsError, load
from gateway.upstream.addresses import AddressRule
from gateway.upstream.pool import Pool
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import Clock

STAGES = {"authenticate": False, "read_request": False, "choose_route": False, "meter": True}
CONFIG = """
providers:
  lab:
    type: openai
    base_url: http://127.0.0.1:9/v1
    api_keys: [{key: env:FIRST, weight: 3}, {key: env:SECOND}]
  free: {type: openai, base_url: "http://127.0.0.1:9/v1", api_key: none}
models:
  - {name: small, targets: [{provider: lab, model: small-1}]}
"""
KEYS = {"FIRST": "s3cret-1", "SECOND": "s3cret-2"}


def settings(tmp_path: Path, text: str = CONFIG) -> Settings:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load(path, {}, PROVIDERS.keys(), STAGES)


def around(environ: Mapping[str, str], rings: KeyRings | None = None, **more: Any) -> Surroundings:
    return Surroundings(PROVIDERS, environ, (), Pool(), Breakers(Clock()), rings or KeyRings(), **more)


def test_a_provider_has_a_ring_of_its_keys_named_by_where_they_come_from(tmp_path: Path) -> None:
    rings = KeyRings()
    build_routes(settings(tmp_path), around(KEYS, rings))
    ring = rings.find("lab")
    assert ring is not None
    assert [(key.label, key.weight, dict(key.headers)) for key in ring.keys] == [
        ("env:FIRST", 3, {"authorization": "Bearer s3cret-1"}),
        ("env:SECOND", 1, {"authorization": "Bearer s3cret-2"}),
    ]
    assert rings.find("free") is None
    assert rings.find("other") is None


def test_a_reload_heals_no_key_and_one_that_fails_changes_nothing(tmp_path: Path) -> None:
    rings = KeyRings()
    read = settings(tmp_path)
    build_routes(read, around(KEYS, rings))
    before = rings.find("lab")
    assert before is not None
    before.bench(before.keys[0], "upstream_auth", 0.0)
    with pytest.raises(SettingsError):
        build_routes(read, around({"FIRST": "new"}, rings))
    assert rings.find("lab") is before
    build_routes(read, around({**KEYS, "SECOND": "new"}, rings))
    after = rings.find("lab")
    assert after is not None
    assert after is not before
    assert [state.state for state in after.state(0.0)] == ["benched", "ok"]
    build_routes(settings(tmp_path, "providers: {}"), around({}, rings))
    assert rings.find("lab") is None


@pytest.mark.parametrize("number", [0, 1])
def test_any_key_that_cannot_be_sent_is_a_mistake(tmp_path: Path, number: int) -> None:
    environ = {**KEYS, list(KEYS)[number]: "ключ"}
    with pytest.raises(SettingsError, match=r"providers\.lab") as caught:
        build_routes(settings(tmp_path), around(environ))
    assert "ключ" not in str(caught.value)


def made(tmp_path: Path, *keys: str, base_url: str = "http://llm.example/v1") -> Settings:
    """The configuration with a provider and a model that were made over the admin API."""
    provider = Provider(
        type="openai",
        base_url=base_url,
        api_key=Secret("stored", keys[0]) if keys else Secret("none"),
        headers={"x-team": Secret("stored", "blue")},
    )
    model = Model.model_validate(
        {
            "name": "large",
            "targets": [{"provider": "made", "model": "l-1"}, {"provider": "lab", "model": "l-2", "priority": 1}],
        }
    )
    only = Model.model_validate({"name": "only", "targets": [{"provider": "made", "model": "l-1"}]})
    read = settings(tmp_path)
    return read.model_copy(
        update={"providers": {**read.providers, "made": provider}, "models": (*read.models, model, only)}
    )


def test_what_was_made_is_routed_and_bound_by_the_rule(tmp_path: Path) -> None:
    rings = KeyRings()
    with_rule = around({**KEYS, "OPENAI_API_KEY": "the operator's"}, rings, made={"made"}, rule=AddressRule())
    routes, accounts = build_routes(made(tmp_path, "s3cret-9"), with_rule)
    route = routes.find("large")
    assert route is not None
    assert [target.name for target in route.targets] == ["made/l-1", "lab/l-2"]
    head = route.targets[0].head(CHAT, b"", 5)
    assert b"authorization: Bearer s3cret-9\r\n" in head
    assert b"x-team: blue\r\n" in head
    ring = rings.find("made")
    assert ring is not None
    assert [key.label for key in ring.keys] == ["key 1"]
    rules = {name: account.line._origin.rule for name, account in accounts.items()}  # type: ignore[attr-defined]
    assert rules == {"lab": None, "free": None, "made": AddressRule(), "openai": None}


def test_a_provider_that_was_made_never_gets_the_operators_key(tmp_path: Path) -> None:
    routes, _ = build_routes(made(tmp_path), around({**KEYS, "OPENAI_API_KEY": "the operator's"}, made={"made"}))
    target = routes.find_direct("made/x")
    assert target is not None
    assert b"authorization" not in target.targets[0].head(CHAT, b"", 5)


def test_one_that_cannot_be_used_is_left_out_and_keeps_no_other_from_being_built(tmp_path: Path) -> None:
    where = around(KEYS, made={"made"})
    routes, accounts = build_routes(made(tmp_path, "ключ"), where)
    assert "made" not in accounts
    assert "characters that a header cannot carry" in where.left_out["made"]
    route = routes.find("large")
    assert route is not None
    assert [target.name for target in route.targets] == ["lab/l-2"]
    assert routes.find("only") is None
    assert routes.find("small") is not None
