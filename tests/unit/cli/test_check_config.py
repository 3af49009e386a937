from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.check_config import check_config

TYPES = {"openai": "OPENAI_API_KEY", "groq": "GROQ_API_KEY", "demo": None}
STAGES = {"authenticate": False, "choose_route": False, "meter": True}
GOOD = """
providers:
  openai: {type: openai}
  groq: {type: groq, api_key: env:MY_GROQ}
  lab: {type: openai, base_url: "http://127.0.0.1:9001/v1", api_key: none}
  demo: {type: demo}
models:
  - name: chat
    aliases: [fast]
    targets:
      - {provider: openai, model: gpt, priority: 1}
      - {provider: groq, model: llama, weight: 3}
      - {provider: lab, model: llama}
    context_fallbacks: [long]
  - {name: long, targets: [{provider: demo, model: demo}], policy_fallbacks: []}
stages: {meter: {enabled: false}}
"""
SUMMARY = """
models
  chat = fast
    0: groq/llama, 75% of requests
    0: lab/llama, 25% of requests
    1: openai/gpt
    prompt too long: long
  long
    0: demo/demo

providers
  openai: openai, key env:OPENAI_API_KEY is NOT SET
  groq: groq, key env:MY_GROQ is set
  lab: openai, http://127.0.0.1:9001/v1, no key
  demo: demo, no key

stages, in order
  authenticate
  choose_route
  switched off: meter
"""


def _check(path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("MY_GROQ", "gsk_not_to_be_shown")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if text is not None:
        path.write_text(text)
    return CliRunner().invoke(check_config(TYPES, STAGES), [str(path)])


def test_a_good_file_is_summed_up_without_any_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.yaml"
    result = _check(path, GOOD, monkeypatch)
    assert result.exit_code == 0
    assert result.stdout == f"OK: {path}\n{SUMMARY}"
    assert "gsk_" not in result.output


def test_an_empty_file_serves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _check(tmp_path / "gateway.yaml", "", monkeypatch)
    assert result.exit_code == 0
    assert result.stdout.count("(none)") == 2


def test_all_mistakes_are_printed_and_the_status_is_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.yaml"
    result = _check(path, "server:\n  prot: 1\nretries: {attempts: 0}", monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}:2: server.prot: there is no such setting (did you mean port?)",
        f"{path}:3: retries.attempts: must be greater than or equal to 1",
        "2 mistakes",
    ]
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_one_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _check(tmp_path / "gone.yaml", None, monkeypatch)
    assert result.exit_code == 1
    assert "there is no file" in result.stderr
    assert result.stderr.endswith("1 mistake\n")
