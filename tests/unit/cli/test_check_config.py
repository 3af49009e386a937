from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.check_config import check_config
from gateway.cli.commands import check_config_command
from gateway.providers.provider import Extra

TYPES = {"openai": "OPENAI_API_KEY", "groq": "GROQ_API_KEY", "demo": None, "far": None, "farther": None, "near": None}
EXTRAS = {
    "far": Extra("distance", "no_such_package"),
    "farther": Extra("distance", "no_such_package.inner", unless_keyed=True),
    "near": Extra("nearness", "orjson"),
}
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
    return CliRunner().invoke(check_config(TYPES, STAGES, EXTRAS), [str(path)])


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


def test_a_provider_whose_extra_is_not_installed_is_a_mistake_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.yaml"
    text = """
providers:
  a: {type: far}
  b: {type: farther}
  c: {type: farther, api_key: env:MY_KEY}
  d: {type: near}
"""
    result = _check(path, text, monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}: providers.a: a provider of type far needs the extra: pip install 'kubechat-gateway[distance]'",
        f"{path}: providers.b: a provider of type farther needs the extra: pip install 'kubechat-gateway[distance]'",
        "2 mistakes",
    ]


def test_the_command_knows_the_extras_of_the_built_in_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("providers: {a: {type: bedrock}, b: {type: litellm}, c: {type: vertex, project: p}}")
    monkeypatch.setattr("gateway.cli.check_config.find_spec", lambda name: None)
    result = CliRunner().invoke(check_config_command, [str(path)])
    assert result.exit_code == 1
    assert [line.partition("[")[2] for line in result.stderr.splitlines()[:3]] == ["bedrock]'", "litellm]'", "google]'"]
    assert "litellm" not in sys.modules
