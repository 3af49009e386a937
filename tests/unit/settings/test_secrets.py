from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.settings import Secret, SettingsError, dump, is_set, resolve
from tests.unit.settings.conftest import Load

VALUE = "sk-live-a-very-secret-value"


def test_a_secret_is_read_from_the_environment_at_the_moment_of_use() -> None:
    secret = Secret.parse("env:A_KEY")
    assert resolve(secret, {"A_KEY": f" {VALUE}\n"}) == VALUE
    assert resolve(secret, {"A_KEY": "another"}) == "another"


def test_a_secret_file_counts_from_the_yaml_that_names_it_and_may_be_replaced(load_text: Load, tmp_path: Path) -> None:
    read = load_text("include: [sub/a.yaml]", {"sub/a.yaml": "providers: {d: {type: demo, api_key: file:key}}"})
    secret = read.providers["d"].api_key
    (tmp_path / "sub" / "key").write_text(f"{VALUE}\n")
    assert resolve(secret, {}) == VALUE
    (tmp_path / "sub" / "key").write_text("rotated")
    assert resolve(secret, {}) == "rotated"


def test_none_and_nothing_resolve_to_nothing() -> None:
    assert resolve(Secret.parse("none"), {}) is None
    assert resolve(None, {}) is None
    assert is_set(Secret.parse("none"), {})
    assert not is_set(None, {})


def test_a_missing_variable_is_named_with_the_place_that_asks_for_it(load_text: Load) -> None:
    read = load_text("\nproviders:\n  d: {type: demo, api_key: env:NOT_THERE}")
    for environ, what in (({}, "is not set"), ({"NOT_THERE": " "}, "is empty")):
        with pytest.raises(SettingsError) as caught:
            resolve(read.providers["d"].api_key, environ)
        (mistake,) = caught.value.mistakes
        assert (mistake.line, mistake.path) == (3, "providers.d.api_key")
        assert mistake.message == f"the environment variable NOT_THERE {what}"
        assert not is_set(read.providers["d"].api_key, environ)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b" \n", "is empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 70_000, "larger")],
)
def test_a_secret_file_that_will_not_do_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        resolve(Secret.parse(f"file:{path}"), {})


def test_a_value_that_would_break_a_header_is_refused_unseen() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(Secret.parse("env:K"), {"K": f"{VALUE}\r\nx-evil: 1"})
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    "text", [VALUE, "", "None", "env:", "env:A-B", "env: A", "file:", "file:a\nb", "ENV:A", 5, None]
)
def test_anything_but_a_reference_is_refused_and_not_repeated(text: object) -> None:
    with pytest.raises(ValueError, match=r"env:|file:") as caught:
        Secret.parse(text)
    assert VALUE not in str(caught.value)


def test_neither_repr_nor_dump_shows_a_value(load_text: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", VALUE)
    (tmp_path / "key").write_text(VALUE)
    read = load_text(
        "providers: {d: {type: demo, api_key: env:A_KEY, "
        "headers: {x-token: file:key, x-team: red}, proxy: env:A_KEY}}\n"
        "database: {url: env:A_KEY}",
        environ={"A_KEY": VALUE},
    )
    provider = read.providers["d"]
    assert resolve(provider.headers["x-token"], {}) == VALUE
    assert resolve(provider.headers["x-team"], {}) == "red"
    dumped = orjson.dumps(dump(read)).decode()
    assert '"x-token":"file:key"' in dumped
    assert '"proxy":"env:A_KEY"' in dumped
    for shown in (dumped, repr(read), str(read), repr(provider.api_key), str(provider.api_key), read.model_dump_json()):
        assert VALUE not in shown
    assert "red" not in repr(provider.headers["x-team"])


def test_secrets_are_equal_when_they_name_the_same_wherever_they_stand(load_text: Load) -> None:
    one = load_text("providers: {d: {type: demo, api_key: env:A}}")
    two = load_text("\n\nproviders: {d: {type: demo, api_key: env:A}}")
    assert one.providers == two.providers


def test_a_stored_secret_is_its_own_value_and_cannot_be_written_in_yaml() -> None:
    secret = Secret("stored", VALUE)
    assert resolve(secret, {}) == VALUE
    assert (secret.reference, repr(secret)) == ("stored", "Secret(stored)")
    with pytest.raises(ValueError, match="named, never written"):
        Secret.parse(f"stored:{VALUE}")
