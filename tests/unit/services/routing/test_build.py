"""Routes from settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.services.routing.build import Breakers, Surroundings, build_routes, switched_on
from gateway.settings import Settings, SettingsError, load
from gateway.upstream.health import OPEN, BreakerOptions
from gateway.upstream.pool import Pool
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import Clock

STAGES = {"authenticate": False, "read_request": False, "choose_route": False, "meter": True}
CONFIG = """
providers:
  lab: {type: openai, base_url: "http://127.0.0.1:9/base/v1/", api_key: env:LAB_KEY, headers: {x-team: blue}}
  fast: {type: groq, api_key: none}
models:
  - name: small
    aliases: [tiny]
    targets:
      - {provider: fast, model: llama, priority: 1}
      - {provider: lab, model: small-1, timeouts: {}}
    context_fallbacks: [large]
    timeouts: {first_byte_s: 7}
  - name: large
    targets: [{provider: lab, model: large-1}]
""".replace(", timeouts: {}", "")


def _settings(tmp_path: Path, text: str = CONFIG) -> Settings:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load(path, {}, PROVIDERS.keys(), STAGES)


def _around(environ: Mapping[str, str], breakers: Breakers | None = None) -> Surroundings:
    return Surroundings(PROVIDERS, environ, (), Pool(), breakers or Breakers(Clock()))


def test_a_target_has_its_accounts_address_credentials_and_limits(tmp_path: Path) -> None:
    routes, accounts = build_routes(_settings(tmp_path), _around({"LAB_KEY": "s3cret"}))
    route = routes.find("small")
    assert route is not None
    assert [target.name for target in route.targets] == ["lab/small-1", "fast/llama"]
    head = route.targets[0].head(CHAT, b"openai-beta: x\r\n", 5)
    assert head.startswith(b"POST /base/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:9\r\n")
    assert b"authorization: Bearer s3cret\r\n" in head
    assert b"x-team: blue\r\n" in head
    assert head.endswith(b"openai-beta: x\r\ncontent-length: 5\r\n\r\n")
    assert b"authorization" not in route.targets[1].head(CHAT, b"", 5)
    assert route.targets[0].limits.first_byte_s == 7
    assert "logprobs" in accounts["fast"].variations.unsupported
    assert route.context_fallbacks == ("large",)
    alias = routes.find("tiny")
    direct = routes.find_direct("lab/small-1")
    assert alias is not None
    assert direct is not None
    assert [target.serves for target in (*route.targets, *alias.targets, *direct.targets)] == [*["small"] * 4, ""]


def test_an_alias_leads_to_the_same_targets(tmp_path: Path) -> None:
    routes, _ = build_routes(_settings(tmp_path), _around({"LAB_KEY": "k"}))
    alias, route = routes.find("tiny"), routes.find("small")
    assert alias is not None
    assert route is not None
    assert alias.name == "tiny"
    assert alias.targets == route.targets


@pytest.mark.parametrize(
    ("everywhere", "there", "finishes"),
    [(None, None, False), ("finish", None, True), ("finish", "cancel", False), (None, "finish", True)],
)
def test_a_provider_that_is_to_be_heard_to_the_end_may_be_one_or_all(
    tmp_path: Path, everywhere: str | None, there: str | None, finishes: bool
) -> None:
    text = CONFIG.replace("headers:", f"on_client_gone: {there}, headers:") if there else CONFIG
    text += f"upstream: {{on_client_gone: {everywhere}}}\n" if everywhere else ""
    _, accounts = build_routes(_settings(tmp_path, text), _around({"LAB_KEY": "s3cret"}))
    assert accounts["lab"].finishes is finishes
    assert accounts["fast"].finishes is (everywhere == "finish")


def test_a_reload_heals_no_target_unless_its_breaker_is_defined_anew(tmp_path: Path) -> None:
    breakers = Breakers(Clock())
    around = _around({"LAB_KEY": "k"}, breakers)
    build_routes(_settings(tmp_path), around)
    breaker = breakers.of("lab/small-1")
    while breaker.state != OPEN:
        breaker.fail(breaker.allow())
    again, _ = build_routes(_settings(tmp_path), around)
    route = again.find("small")
    assert route is not None
    assert route.targets[0].breaker is breaker
    direct = again.find_direct("lab/small-1")
    assert direct is not None
    assert direct.targets[0].breaker is breaker
    breakers.use(BreakerOptions(open_s=1.0))
    assert breakers.of("lab/small-1") is not breaker


@pytest.mark.parametrize("secret", [None, "ключ", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_a_mistake_that_names_the_provider(tmp_path: Path, secret: str | None) -> None:
    settings = _settings(tmp_path)
    environ = {} if secret is None else {"LAB_KEY": secret}
    with pytest.raises(SettingsError) as caught:
        build_routes(settings, _around(environ))
    assert "lab" in str(caught.value)
    assert secret is None or secret not in str(caught.value)


def test_providers_with_a_key_in_the_environment_are_switched_on(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    environ = {"GROQ_API_KEY": "k", "OPENAI_API_KEY": " "}
    assert switched_on(settings, PROVIDERS, environ, ["ollama"]) == ["ollama", "groq"]
    routes, accounts = build_routes(settings, _around({**environ, "LAB_KEY": "k"}))
    assert "groq" in accounts
    assert routes.find_direct("groq/llama-3") is not None
    assert routes.find_direct("openai/gpt-4o") is None


@pytest.mark.parametrize("wrong", ["unsupported: [logprob]", "rename: {max_token: max_output}"])
def test_a_field_that_no_request_has_is_found_at_start(tmp_path: Path, wrong: str) -> None:
    settings = _settings(
        tmp_path,
        "providers:\n  lab: {type: openai, base_url: http://127.0.0.1:9, api_key: none, WRONG}".replace("WRONG", wrong),
    )
    with pytest.raises(SettingsError, match=r"providers\.lab.*no such field"):
        build_routes(settings, _around({}))
