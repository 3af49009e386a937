"""A provider that a library calls: what of its settings counts, and what is refused at start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.services.routing import library
from gateway.services.routing.build import Breakers, Surroundings, build_routes
from gateway.settings import Settings, SettingsError, load
from gateway.tasks import Tasks
from gateway.upstream.litellm_line import LiteLLMLine
from gateway.upstream.pool import Pool
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import Clock

CONFIG = """
providers:
  rest: {type: litellm, api_key: env:REST_KEY, headers: {x-team: blue}}
models:
  - name: small
    targets: [{provider: rest, model: sagemaker/small}, {provider: rest, model: "huggingface/http://a.example"}]
"""


def _settings(tmp_path: Path, text: str = CONFIG) -> Settings:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load(path, {}, PROVIDERS.keys(), {})


def _line(settings: Settings, *, made: bool = False, installed: bool = True) -> LiteLLMLine:
    return library.library_line(
        "rest", settings.providers["rest"], settings, Tasks(), made=made, installed=lambda: installed
    )


def _around(**more: Any) -> Surroundings:
    return Surroundings(PROVIDERS, {"REST_KEY": "s3cret-key"}, (), Pool(), Breakers(Clock()), **more)


def test_it_answers_for_the_models_that_are_named(tmp_path: Path) -> None:
    assert _line(_settings(tmp_path)).models == {"sagemaker/small"}


def test_its_key_and_headers_reach_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.library_line, "__kwdefaults__", {"installed": lambda: True})
    routes, accounts = build_routes(_settings(tmp_path), _around())
    route = routes.find("small")
    assert route is not None
    line = accounts["rest"].line
    assert isinstance(line, LiteLLMLine)
    access = line.access(route.targets[0].head(CHAT, b"", 5))
    assert access.api_key == "s3cret-key"
    assert access.headers == {"x-team": "blue"}
    assert (access.api_base, access.api_version) == ("", "")


def test_where_it_is_not_installed_the_gateway_does_not_start_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pip install 'kubechat-gateway\[litellm\]'"):
        _line(_settings(tmp_path), installed=False)
    if not library.is_installed():
        with pytest.raises(SettingsError) as caught:
            build_routes(_settings(tmp_path), _around())
        (mistake,) = caught.value.mistakes
        assert mistake.path == "providers.rest"
        assert "kubechat-gateway[litellm]" in mistake.message


@pytest.mark.parametrize("setting", ["region: eu-1", "proxy: none", "project: p"])
def test_settings_that_it_would_ignore_are_refused(tmp_path: Path, setting: str) -> None:
    settings = _settings(tmp_path, CONFIG.replace("type: litellm", f"type: litellm, {setting}"))
    with pytest.raises(ValueError, match=setting.partition(":")[0]):
        _line(settings)


def test_it_cannot_be_made_over_the_admin_api(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="configuration file"):
        _line(_settings(tmp_path), made=True)
    around = _around(made=("rest",))
    routes, accounts = build_routes(_settings(tmp_path), around)
    assert "rest" not in accounts
    assert routes.find("small") is None
    assert "configuration file" in around.left_out["rest"]
