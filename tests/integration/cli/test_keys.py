"""`kubechat-gateway keys …`: on a home of its own, beside a running gateway, and on a database by URL."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli.keys import keys
from gateway.services.keys.format import LENGTH, maker_of
from gateway.services.keys.secret import Secret, Secrets
from gateway.store.embedded import EmbeddedStores
from gateway.store.home import Home

SECRET = "the secret that is in force today"
UNKNOWN = "00000000-0000-0000-0000-000000000007"


@pytest.fixture(scope="module")
def running_home() -> Iterator[Path]:
    """A home as a running gateway holds it: locked, its PostgreSQL up. Its path is too long for a socket."""
    root = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    home = Home.open(root / ("a long name with spaces " * 5).strip())
    stores = EmbeddedStores(home.path, valkey=False, settings={"fsync": "off"})
    try:
        asyncio.run(stores.start())
        yield home.path
    finally:
        asyncio.run(stores.stop())
        home.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "GATEWAY_HOME", "GATEWAY_SECRET_KEY", "GATEWAY_SECRET_KEY_PREVIOUS"):
        monkeypatch.delenv(name, raising=False)


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--home", str(home)])


def made(home: Path, *arguments: str) -> dict[str, Any]:
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def listed(home: Path, *arguments: str) -> list[dict[str, Any]]:
    result = run(home, "list", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = orjson.loads(result.stdout)
    return found


def test_a_key_is_made_listed_rotated_and_revoked_beside_a_running_gateway(running_home: Path) -> None:
    key = made(
        running_home,
        *("create", "app", "--team", "core", "--models", "gpt-*,openai/*", "--model", "o1"),
        *("--endpoints", "default,files", "--expires-in", "30d"),
    )
    assert (key["name"], key["team"], key["models"]) == ("app", "core", ["gpt-*", "openai/*", "o1"])
    assert key["endpoints"] == ["default", "files"]
    assert key["expires_at"] is not None
    secret = Secret.of(Home(running_home, -1).secret_key())
    assert maker_of(key["key"], Secrets(secret)) is secret

    new = made(running_home, "rotate", key["id"], "--overlap", "2h")
    assert new["rotated_from"] == key["id"]
    assert new["key"] != key["key"]
    assert made(running_home, "revoke", key["id"])["state"] == "revoked"
    ids = [record["id"] for record in listed(running_home, "--team", "core")]
    assert ids == [new["id"]]
    ids = [record["id"] for record in listed(running_home, "--team", "core", "--all")]
    assert ids == [new["id"], key["id"]]


def test_a_key_is_shown_and_changed_and_what_is_not_named_stays(running_home: Path) -> None:
    key = made(running_home, "create", "tool", "--team", "tools", "--models", "gpt-*", "--expires-in", "30d")
    changed = made(
        running_home,
        *("change", key["id"], "--name", "none", "--endpoints", "chat,embeddings", "--rpm", "60", "--tpm", "9000"),
        *("--max-concurrency", "3", "--budget-usd", "12.50", "--budget-period", "week", "--disable"),
    )
    assert (changed["name"], changed["models"], changed["endpoints"]) == ("none", ["gpt-*"], ["chat", "embeddings"])
    assert (changed["rpm"], changed["tpm"], changed["max_concurrency"]) == (60, 9000, 3)
    assert (changed["budget"]["limit_usd"], changed["budget"]["period"]) == (12.5, "week")
    assert (changed["state"], changed["expires_at"]) == ("disabled", key["expires_at"])
    assert made(running_home, "show", key["id"]) == changed
    again = made(
        running_home,
        *("change", key["id"], "--enable", "--models", "none", "--endpoints", "none", "--expires-at", "none"),
        *("--rpm", "none", "--budget-usd", "none"),
    )
    assert (again["state"], again["models"], again["endpoints"]) == ("active", None, None)
    assert (again["expires_at"], again["rpm"], again["tpm"], again["budget"]) == (None, None, 9000, None)
    shown = run(running_home, "show", key["id"]).stdout
    assert "tpm: 9000" in shown
    assert key["key"] not in shown


def test_keys_are_found_by_user_and_by_name(running_home: Path) -> None:
    of_ann = made(running_home, "create", "shared name", "--user", "ann@example.com")
    other = made(running_home, "create", "shared name", "--user", "bob")
    for user in ("ann@example.com", of_ann["user_id"], of_ann["user_id"].upper()):
        assert [key["id"] for key in listed(running_home, "--user", user)] == [of_ann["id"]]
    assert [key["id"] for key in listed(running_home, "--name", "shared name")] == [other["id"], of_ann["id"]]
    assert [key["id"] for key in listed(running_home, "--name", "shared name", "--user", "bob")] == [other["id"]]
    assert listed(running_home, "--user", "nobody") == []


def test_for_people_the_key_alone_is_on_standard_output(running_home: Path) -> None:
    result = run(running_home, "create", "--name", "[bold]people[/bold]")
    assert result.exit_code == 0
    token = result.stdout.strip()
    assert len(token) == LENGTH
    assert "not shown again" in result.stderr
    assert token not in result.stderr
    table = run(running_home, "list").stdout
    assert re.search(r"ID +NAME +KEY +STATE", table)
    assert "[bold]people[/bold]" in table
    assert f"{token[:9]}…{token[-4:]}" in table
    assert token not in table


def test_a_list_longer_than_a_page_is_whole(running_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [made(running_home, "create", f"many {number}", "--team", "many")["id"] for number in range(3)]
    monkeypatch.setattr("gateway.cli.database._PAGE", "2")
    assert [record["id"] for record in listed(running_home, "--team", "many")] == wanted[::-1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create",), 2, "NAME once"),
        (("create", "a", "--name", "b"), 2, "NAME once"),
        (("create", "a", "--expires-in", "soon"), 2, "not a duration"),
        (("create", "a", "--expires-in", "1d", "--expires-at", "2030-01-01T00:00:00Z"), 2, "not both"),
        (("create", "a\udcff"), 2, "UTF-8"),
        (("change", UNKNOWN, "--rpm", "60"), 1, "no key"),
        (("change", UNKNOWN), 1, ""),
        (("change", UNKNOWN, "--rpm", "many"), 2, "neither a whole number"),
        (("change", UNKNOWN, "--budget-period", "day"), 2, "goes with --budget-usd"),
        (("change", UNKNOWN, "--expires-in", "1d", "--expires-at", "none"), 2, "not both"),
        (("show", UNKNOWN), 1, "no key"),
        (("create", "a", "--endpoint", "file"), 1, "did you mean `files`?"),
        (("create", "a", "--expires-at", "2020-01-01T00:00:00Z"), 1, "has passed"),
        (("revoke", UNKNOWN), 1, "no key with the id"),
        (("revoke", "x"), 1, "no key with this id"),
        (("rotate", UNKNOWN), 1, "no key with the id"),
        (("rotate", UNKNOWN, "--overlap", "99d"), 1, "overlap_s"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    running_home: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = len(listed(running_home, "--all"))
    result = run(running_home, *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert len(listed(running_home, "--all")) == before


def test_without_a_running_gateway_the_process_starts_the_database_for_the_moment() -> None:
    root = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    try:
        command = [sys.executable, "-c", "from gateway.cli.keys import keys; keys()"]
        environment = {**os.environ, "GATEWAY_HOME": str(root / "home")}
        process = subprocess.run(
            [*command, "create", "app", "--json"], env=environment, capture_output=True, timeout=60, check=True
        )
        key = orjson.loads(process.stdout)
        process = subprocess.run([*command, "list"], env=environment, capture_output=True, timeout=60, check=True)
        assert key["id"] in process.stdout.decode()
        assert process.stderr == b""
        assert not (root / "home" / "postgres" / "data" / "postmaster.pid").exists()
        assert (root / "home" / "secret.key").stat().st_mode & 0o777 == 0o600
        Home.open(root / "home").close()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def url_of(arguments: Mapping[str, Any]) -> str:
    return f"postgresql://{arguments['user']}@/{arguments['database']}?host={quote(str(arguments['host']), safe='')}"


def test_a_database_by_url_needs_the_secret_it_was_set_up_with(
    database_url: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", url_of(database_url))
    assert "GATEWAY_SECRET_KEY is not set" in run(tmp_path, "create", "app").stderr
    monkeypatch.setenv("GATEWAY_SECRET_KEY", SECRET)
    assert made(tmp_path, "create", "app")["state"] == "active"
    monkeypatch.setenv("GATEWAY_SECRET_KEY", "a secret of somebody else altogether")
    result = run(tmp_path, "list")
    assert result.exit_code == 1
    assert "not the secret that this database was set up with" in result.stderr
    monkeypatch.setenv("GATEWAY_SECRET_KEY_PREVIOUS", SECRET)
    assert "rotate: old secret" in run(tmp_path, "list").stdout
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_leads_nowhere_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", SECRET)
    for address, words in (
        ("postgresql://nobody:secretword@127.0.0.1:1/none", "not available"),
        ("mysql://somewhere", "postgres://"),
    ):
        monkeypatch.setenv("DATABASE_URL", address)
        result = run(tmp_path, "list")
        assert result.exit_code == 1
        assert words in result.stderr
        assert "secretword" not in result.output
