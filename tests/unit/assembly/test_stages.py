"""Which stages may be switched off."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from gateway.assembly.worker import STAGES
from gateway.settings import Settings, SettingsError, load
from gateway.settings.checks import METER, NEED_METER


def without(folder: Path, stages: Collection[str]) -> Settings:
    """The settings that switch these off."""
    file = folder / "gateway.yaml"
    file.write_text(f"stages: {{{', '.join(f'{name}: {{enabled: false}}' for name in stages)}}}")
    return load(file, {}, (), STAGES)


def test_the_meter_cannot_be_switched_off_under_limits_or_budgets(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"stages.meter.enabled: .* switch off admit, limit_rate, check_budget too"):
        without(tmp_path, [METER])
    for left in NEED_METER:
        with pytest.raises(SettingsError, match=rf"stages.meter.enabled: .* switch off {left} too"):
            without(tmp_path, [METER, *(name for name in NEED_METER if name != left)])


def test_all_of_them_together_can_and_each_of_the_others(tmp_path: Path) -> None:
    settings = without(tmp_path, [METER, *NEED_METER])
    assert not any(settings.stage_enabled(name) for name in (METER, *NEED_METER))
    assert all(without(tmp_path, [name]).stage_enabled(METER) for name in NEED_METER)


def test_the_stages_that_need_the_meter_come_before_it_and_can_be_switched_off() -> None:
    order = [*STAGES]
    assert all(STAGES[name] and order.index(name) < order.index(METER) for name in NEED_METER)
