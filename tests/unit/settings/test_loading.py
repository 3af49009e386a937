from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.settings import Secret, Settings, SettingsError, dump, fingerprint, load, watched_files
from tests.unit.settings.conftest import STAGES, TYPES, Load, Mistakes

SHIPPED = Path(__file__).parents[3] / "config" / "gateway.yaml"
GOOD = """
providers:
  openai: {type: openai, api_key: env:OPENAI_API_KEY}
  lab:    {type: openai, base_url: http://127.0.0.1:9001/v1/, api_key: "none"}
models:
  - name: gpt-4o-mini
    targets:
      - {provider: openai, model: gpt-4o-mini, weight: 1, priority: 0}
      - {provider: lab, model: gpt-4o-mini, weight: 1, priority: 1}
    price: {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}
stages: {meter: {enabled: false}}
"""


def test_the_least_form_of_a_configuration_loads(load_text: Load) -> None:
    read = load_text(GOOD)
    assert read.providers["openai"].api_key == Secret("env", "OPENAI_API_KEY")
    assert read.providers["lab"].base_url == "http://127.0.0.1:9001/v1"
    assert read.models[0].targets[1].priority == 1
    assert not read.stage_enabled("meter")
    assert read.stage_enabled("authenticate")


def test_an_empty_file_is_all_defaults(load_text: Load) -> None:
    assert load_text("# nothing\n") == load_text("") == Settings() or load_text("").models == ()
    assert load_text("").server.port == 8080


def test_a_key_without_a_value_counts_as_not_written(load_text: Load) -> None:
    read = load_text("server:\nretries: {attempts: }\nlogging: {level: null}")
    assert (read.server.port, read.retries.attempts, read.logging.level) == (8080, 3, "info")


def test_settings_cannot_be_changed_after_loading(load_text: Load) -> None:
    with pytest.raises(ValidationError):
        load_text(GOOD).server.port = 1


def test_the_configuration_that_ships_is_the_one_that_is_built_in() -> None:
    built_in = resources.files("gateway.settings") / "demo.yaml"
    assert SHIPPED.read_bytes() == built_in.read_bytes()


def test_the_configuration_that_ships_is_good_and_serves_the_demo_model() -> None:
    read = load(SHIPPED, {}, TYPES, STAGES)
    assert [model.name for model in read.models] == ["demo"]
    assert read.providers[read.models[0].targets[0].provider].type == "demo"


def test_store_addresses_come_from_the_environment_unless_the_file_names_them(load_text: Load) -> None:
    environ = {"DATABASE_URL": "postgres://…", "REDIS_URL": "redis://…", "DATABASE_LISTEN_URL": " "}
    read = load_text("database: {url: env:OTHER}", environ=environ)
    assert read.database.url == Secret("env", "OTHER")
    assert read.database.listen_url is None
    assert read.valkey.url == Secret("env", "REDIS_URL")


def test_the_word_none_keeps_the_embedded_database_in_spite_of_the_environment(load_text: Load) -> None:
    assert load_text("database: {url: none}", environ={"DATABASE_URL": "x"}).database.url == Secret("none")


def test_switches_may_be_written_as_yaml_1_1_words(load_text: Load) -> None:
    read = load_text("admin: {expose: on}\ntelemetry: {enabled: no}")
    assert (read.admin.expose, read.telemetry.enabled) == (True, False)


def test_words_that_yaml_1_1_takes_for_something_else_stay_text(load_text: Load) -> None:
    text = "providers: {d: {type: demo}}\nmodels:\n"
    for name in ("no", "on", "1:30", "2026-01-02", "1_000"):
        text += f"  - {{name: {name}, targets: [{{provider: d, model: {name}}}]}}\n"
    assert [model.name for model in load_text(text).models] == ["no", "on", "1:30", "2026-01-02", "1_000"]


def test_anchors_and_merge_keys_work_and_own_keys_win(load_text: Load) -> None:
    read = load_text("""
providers:
  one: &one {type: openai, api_key: none, timeouts: {idle_s: 7}}
  two: {<<: *one, type: groq}
  three: {<<: [*one, {stream_usage: true}]}
""")
    assert read.providers["two"].type == "groq"
    assert read.providers["two"].timeouts.idle_s == 7
    assert read.providers["three"].stream_usage is True


class TestIncludes:
    def test_are_read_first_and_the_including_file_wins(self, load_text: Load) -> None:
        read = load_text(
            "include: [a.yaml, b.yaml]\nserver: {port: 3}",
            {"a.yaml": "server: {port: 1, workers: 1}", "b.yaml": "server: {port: 2, workers: 2}"},
        )
        assert (read.server.port, read.server.workers) == (3, 2)

    def test_join_lists_of_models_and_count_from_the_including_file(self, load_text: Load, tmp_path: Path) -> None:
        read = load_text(
            "include: [sub/a.yaml]\nmodels: [{name: m1, targets: [{provider: d, model: x}]}]",
            {
                "sub/a.yaml": "include: [b.yaml]\nproviders: {d: {type: demo, ca_file: ca.pem}}",
                "sub/b.yaml": "models: [{name: m0, targets: [{provider: d, model: x}]}]",
            },
        )
        assert [model.name for model in read.models] == ["m0", "m1"]
        assert read.providers["d"].ca_file == tmp_path / "sub" / "ca.pem"
        assert read.source_files == tuple(tmp_path / name for name in ("gateway.yaml", "sub/a.yaml", "sub/b.yaml"))

    def test_that_declare_a_provider_again_are_refused_with_both_places(self, mistakes_in: Mistakes) -> None:
        (mistake,) = mistakes_in(
            "include: [a.yaml]\nproviders:\n  d: {type: demo}", {"a.yaml": "providers: {d: {type: demo}}"}
        )
        assert (mistake.line, mistake.path) == (3, "providers.d")
        assert mistake.file.endswith("gateway.yaml")
        assert mistake.message.endswith("a.yaml:1")

    def test_that_declare_a_model_again_are_refused(self, mistakes_in: Mistakes) -> None:
        model = "models:\n  - {name: m, targets: [{provider: d, model: x}]}"
        (mistake,) = mistakes_in(f"include: [a.yaml]\nproviders: {{d: {{type: demo}}}}\n{model}", {"a.yaml": model})
        assert (mistake.line, mistake.path) == (4, "models[0].name")
        assert "already taken" in mistake.message

    def test_that_are_missing_are_named_with_the_line_that_asks(self, mistakes_in: Mistakes) -> None:
        (mistake,) = mistakes_in("include:\n  - gone.yaml")
        assert (mistake.line, mistake.path) == (2, "include[0]")
        assert "there is no file" in mistake.message

    def test_that_go_round_in_a_circle_are_refused(self, mistakes_in: Mistakes) -> None:
        (mistake,) = mistakes_in("include: [a.yaml]", {"a.yaml": "include: [gateway.yaml]"})
        assert mistake.file.endswith("a.yaml")
        assert "includes itself" in mistake.message

    def test_that_are_named_twice_are_refused(self, mistakes_in: Mistakes) -> None:
        (mistake,) = mistakes_in("include: [a.yaml, ./a.yaml]", {"a.yaml": ""})
        assert "included twice" in mistake.message

    def test_with_a_syntax_error_hide_no_follow_up_mistakes_behind_it(self, mistakes_in: Mistakes) -> None:
        (mistake,) = mistakes_in(
            "include: [a.yaml]\nmodels: [{name: m, targets: [{provider: d, model: x}]}]", {"a.yaml": "providers: [}"}
        )
        assert mistake.file.endswith("a.yaml")


class TestFiles:
    def test_that_cannot_be_read_are_a_settings_error(self, tmp_path: Path) -> None:
        for path in (tmp_path / "gone.yaml", tmp_path, Path("a\0b"), Path("/dev/null")):
            with pytest.raises(SettingsError):
                load(path, {}, TYPES, STAGES)

    def test_to_watch_are_the_yaml_the_certificates_and_the_secrets(self, load_text: Load, tmp_path: Path) -> None:
        read = load_text(
            "include: [a.yaml]\nserver: {tls: {cert_file: c.pem, key_file: /k.pem}}",
            {"a.yaml": "providers: {d: {type: demo, api_key: file:key, headers: {x-token: file:/token}}}"},
        )
        expected = {*map(tmp_path.joinpath, ("gateway.yaml", "a.yaml", "c.pem", "key")), Path("/k.pem"), Path("/token")}
        assert set(watched_files(read)) == expected

    def test_have_a_fingerprint_that_sees_edits_and_swapped_links_and_missing_files(self, tmp_path: Path) -> None:
        (tmp_path / "v1").mkdir()
        (tmp_path / "v2").mkdir()
        for version in ("v1", "v2"):
            (tmp_path / version / "gateway.yaml").write_text("# same")
            os.utime(tmp_path / version / "gateway.yaml", ns=(1, 1))
        (tmp_path / "data").symlink_to("v1")
        watched = [tmp_path / "data" / "gateway.yaml", tmp_path / "gone"]
        first = fingerprint(watched)
        assert fingerprint(watched) == first
        (tmp_path / "new").symlink_to("v2")
        (tmp_path / "new").replace(tmp_path / "data")
        second = fingerprint(watched)
        assert second != first
        (tmp_path / "v2" / "gateway.yaml").write_text("# edited")
        assert fingerprint(watched) != second
        (tmp_path / "gone").write_text("")
        assert len({first, second, fingerprint(watched)}) == 3


_WORDS = st.sampled_from(
    "include server: port: providers: models: name: targets: api_key: env:X &a *a << - [ ] { } , : !!python/object:os"
    " | > ' \" # % @ ` ? ~ null 0x1 010 1e999 .nan \\n \\t ... --- <<: stages price -1 \\ud800 x".replace("\\n", "\n")
    .replace("\\t", "\t")
    .split(" ")
)


def _outcome(load_text: Load, text: str | bytes) -> bytes:
    """The settings as JSON, or the mistakes as they would be printed."""
    try:
        return orjson.dumps(dump(load_text(text)))
    except SettingsError as error:
        return str(error).encode()


class TestNoBytes:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(content=st.binary(max_size=200))
    def test_raise_anything_but_a_settings_error(self, content: bytes, load_text: Load) -> None:
        assert _outcome(load_text, content)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400, deadline=None)
    @given(words=st.lists(st.tuples(_WORDS, st.sampled_from(["", " ", "\n", "\n  "])), max_size=40))
    def test_that_look_like_yaml_raise_anything_but_a_settings_error(
        self, words: list[tuple[str, str]], load_text: Load
    ) -> None:
        text = "".join(word + space for word, space in words)
        assert _outcome(load_text, text)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        key=st.sampled_from(list(Settings.model_fields)),
    )
    def test_with_any_value_in_any_section_raise_anything_but_a_settings_error(
        self, key: str, value: object, load_text: Load
    ) -> None:
        assert _outcome(load_text, json.dumps({key: value}))
