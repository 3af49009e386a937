from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.check_config import check_config
from gateway.settings import SettingsError, load
from gateway.settings.docs import with_table
from gateway.settings.schema import all_settings, section_in
from tests.unit.settings.conftest import STAGES, TYPES

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_table_in_the_docs_is_current_or_make_docs_has_not_been_run() -> None:
    text = DOCS.read_text()
    assert with_table(text) == text


def test_every_setting_has_help_and_a_row() -> None:
    text = DOCS.read_text()
    for setting in all_settings():
        assert setting.field.description, setting.path
        found = section_in(setting.field.annotation)
        if "." in setting.path or found is None:
            assert f"| `{setting.path}`" in text


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_table("# Configuration")


def test_every_example_in_the_docs_is_good(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) >= 5
    inside = "providers: {inside: {type: demo}}\n"
    (tmp_path / "models").mkdir()
    (tmp_path / "providers.yaml").write_text(inside)
    (tmp_path / "models" / "chat.yaml").write_text("")
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example if "providers" in example else inside + example)
        try:
            load(path, {}, TYPES, STAGES)
        except SettingsError as error:
            raise AssertionError(example) from error


def test_the_mistakes_shown_in_the_docs_are_those_that_check_config_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.search(r"```text\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/gateway.yaml").write_text(
        "\nproviders:\n  openai:\n"
        "    {type: openai, api_kye: env:OPENAI_API_KEY}\n"
        "models:\n  - name: fast\n    targets:\n"
        "    # in order\n      - {provider: opnai, model: gpt-4o-mini}\n"
    )
    result = CliRunner().invoke(check_config(dict.fromkeys(TYPES), STAGES, {}), ["config/gateway.yaml"])
    assert result.exit_code == 1
    assert result.stderr == shown[1]
