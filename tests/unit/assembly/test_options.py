"""Each part's own options."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.assembly.options import price_overrides
from gateway.providers.registry import PROVIDERS
from gateway.settings import Settings, SettingsError, load

_PROVIDERS = """
providers:
  inside: {type: openai, base_url: "http://127.0.0.1:9/v1", api_key: none}
  openai: {type: openai, api_key: none}
models:
"""
_PRICES = """
  - name: chat
    aliases: [talk]
    price: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}
    targets:
      - {provider: inside, model: house}
      - {provider: openai, model: gpt-4o, priority: 1, price: {input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}
  - name: house
    targets: [{provider: openai, model: gpt-4o}, {provider: inside, model: other}]
  - name: late
    price: {input_usd_per_mtok: 7, output_usd_per_mtok: 7}
    targets: [{provider: openai, model: gpt-4o}]
"""
_TWO_PRICES = """
  - name: chat
    targets:
      - {provider: openai, model: gpt-4o}
      - {provider: openai, model: gpt-4o, price: {input_usd_per_mtok: 2, output_usd_per_mtok: 2}}
"""


def settings(folder: Path, models: str) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text(_PROVIDERS + models)
    return load(file, {}, PROVIDERS.keys(), {})


def test_a_price_is_declared_for_the_targets_of_its_model_and_a_targets_own_comes_first(tmp_path: Path) -> None:
    found = {place: price.input for place, price in price_overrides(settings(tmp_path, _PRICES)).items()}
    assert found == {
        ("chat", "inside/house"): 0,
        ("", "inside/house"): 0,
        ("chat", "openai/gpt-4o"): 2_500_000,
        ("", "openai/gpt-4o"): 2_500_000,
        ("late", "openai/gpt-4o"): 7_000_000,
    }


def test_a_target_of_a_model_has_one_price(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"models\[0\].targets\[1\].price: the target 'openai/gpt-4o' has another"):
        settings(tmp_path, _TWO_PRICES)
