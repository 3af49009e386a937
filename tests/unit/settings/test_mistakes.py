"""Each kind of mistake: what it says, where it points, and what it never says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import SettingsError
from tests.unit.settings.conftest import Load, Mistakes

MODEL = "{name: m, targets: [{provider: d, model: x}]}"
DEMO = "providers: {d: {type: demo}}\n"

# text, line, path, part of the message, suggestion
KINDS: dict[str, tuple[str, int, str, str, str | None]] = {
    "unknown key": ("server:\n  prot: 1", 2, "server.prot", "no such setting", "port"),
    "unknown section": ("sever: {}", 1, "sever", "no such setting", "server"),
    "key with hyphens": ("server: {max-body-mb: 1}", 1, "server.max-body-mb", "no such setting", "max_body_mb"),
    "key in the wrong section": ("max_body_mb: 1", 1, "max_body_mb", "no such", "server.max_body_mb"),
    "unknown key in a list": (
        DEMO + "models:\n - name: m\n   targets:\n    - {provider: d, model: x, wieght: 2}",
        5,
        "models[0].targets[0].wieght",
        "no such setting",
        "weight",
    ),
    "wrong type": ("server: {port: many}", 1, "server.port", "must be a valid integer", None),
    "truth for a number": ("server: {port: true}", 1, "server.port", "must be a valid integer", None),
    "number for a truth": ("admin: {expose: 7}", 1, "admin.expose", "true or false", None),
    "number for a text": (
        DEMO + "models: [{name: 4.5, targets: [{provider: d, model: x}]}]",
        2,
        "models[0].name",
        "quotes",
        None,
    ),
    "out of range": ("\nserver: {port: 65536}", 2, "server.port", "less than or equal to 65535", None),
    "infinite time": ("upstream: {total_timeout_s: 1e999}", 1, "upstream.total_timeout_s", "finite", None),
    "enormous number": ("server: {port: " + "9" * 5000 + "}", 1, "server.port", "valid integer", None),
    "a journal of three segments": (
        "ledger: {max_journal_mb: 47}",
        1,
        "ledger",
        "at least four times segment_mb",
        None,
    ),
    "not a choice": ("ledger: {fsync: sometimes}", 1, "ledger.fsync", "'never', 'interval' or 'always'", None),
    "missing key": ("providers:\n  d: {}", 2, "providers.d.type", "must be given", None),
    "mapping wanted": ("server: 5", 1, "server", "must be a mapping", None),
    "list wanted": ("models: {}", 1, "models", "must be a list", None),
    "whole file a list": ("- a", 1, "", "must be a mapping of sections", None),
    "no targets": (DEMO + "models: [{name: m, targets: []}]", 2, "models[0].targets", "at least one target", None),
    "zero weight": (
        DEMO + "models: [{name: m, targets: [{provider: d, model: x, weight: 0}]}]",
        2,
        "models[0].targets[0].weight",
        "greater than 0",
        None,
    ),
    "pair out of order": ("retries: {base_delay_ms: 9000}", 1, "retries", "must not be greater", None),
    "half a certificate": ("providers: {d: {type: demo, cert_file: x}}", 1, "providers.d", "go together", None),
    "provider name": ("providers:\n  a/b: {type: demo}", 2, "providers.a/b", "only letters", None),
    "not a URL": ("providers: {d: {type: demo, base_url: nowhere}}", 1, "providers.d.base_url", "must be a URL", None),
    "address": ("admin: {listen: 9090}", 1, "admin.listen", "text", None),
    "address without a port": ("admin: {listen: localhost}", 1, "admin.listen", "host:port", None),
    "price too fine": (
        DEMO + "models: [{name: m, targets: [{provider: d, model: x}], "
        "price: {input_usd_per_mtok: 0.0000001, output_usd_per_mtok: 1}}]",
        2,
        "models[0].price.input_usd_per_mtok",
        "finer than a pico-dollar",
        None,
    ),
    "provider type": ("providers: {d: {type: opnai}}", 1, "providers.d.type", "there are demo, groq", "openai"),
    "provider of a target": (
        DEMO + "models: [{name: m, targets: [{provider: dd, model: x}]}]",
        2,
        "models[0].targets[0].provider",
        "no provider 'dd'",
        "d",
    ),
    "provider that is only a type": (
        "models: [{name: m, targets: [{provider: groq, model: x}]}]",
        1,
        "models[0].targets[0].provider",
        "groq: {type: groq}",
        None,
    ),
    "provider of passthrough": (DEMO + "passthrough: {provider: zz}", 2, "passthrough.provider", "no provider", None),
    "model twice": (DEMO + f"models:\n - {MODEL}\n - {MODEL}", 4, "models[1].name", "already taken", None),
    "alias taken": (
        DEMO + "models: [{name: m, aliases: [n, m], targets: [{provider: d, model: x}]}]",
        2,
        "models[0].aliases[1]",
        "already taken",
        None,
    ),
    "reserved name": (
        DEMO + "models: [{name: auto, targets: [{provider: d, model: x}]}]",
        2,
        "models[0].name",
        "reserved",
        None,
    ),
    "unknown fallback": (
        DEMO + "models: [{name: large, targets: [{provider: d, model: x}], context_fallbacks: [lagre]}]",
        2,
        "models[0].context_fallbacks[0]",
        "no model 'lagre'",
        "large",
    ),
    "fallback to itself": (
        DEMO + "models: [{name: m, aliases: [n], targets: [{provider: d, model: x}], policy_fallbacks: [n]}]",
        2,
        "models[0].policy_fallbacks[0]",
        "leads back",
        None,
    ),
    "fallbacks in a circle": (
        DEMO + "models:\n"
        " - {name: a, targets: [{provider: d, model: x}], context_fallbacks: [b]}\n"
        " - {name: b, targets: [{provider: d, model: x}], context_fallbacks: [c]}\n"
        " - {name: c, targets: [{provider: d, model: x}], policy_fallbacks: [a]}\n",
        5,
        "models[2].policy_fallbacks[0]",
        "leads back to 'c'",
        None,
    ),
    "unknown stage": ("stages: {metre: {enabled: true}}", 1, "stages.metre", "no stage", "meter"),
    "stage that must run": (
        "stages: {authenticate: {enabled: false}}",
        1,
        "stages.authenticate.enabled",
        "cannot be switched off",
        None,
    ),
    "literal secret": ("providers: {d: {type: demo, api_key: hunter2}}", 1, "providers.d.api_key", "never", None),
    "proxy with a password": ("upstream: {proxy: 'http://u:pw@p:1'}", 1, "upstream.proxy", "must be env", None),
    "credential header": (
        "providers: {d: {type: demo, headers: {Authorization: Basic abc}}}",
        1,
        "providers.d.headers",
        "the header Authorization may carry a credential",
        None,
    ),
    "header of the connection": (
        "providers: {d: {type: demo, headers: {Host: x}}}",
        1,
        "providers.d.headers",
        "belongs to the connection",
        None,
    ),
    "syntax": ("server:\n  port: [1", 2, "", "expected ',' or ']', but got '<stream end>'", None),
    "tab": ("server:\n\tport: 1", 2, "", "a tab where spaces are needed", None),
    "key twice": ("server: {port: 1, port: 2}", 1, "server.port", "given twice", None),
    "leading zero": ("server: {port: 010}", 1, "server.port", "write it in decimal", None),
    "tag": ("server: !!python/object:os.system {}", 1, "server", "tags are not allowed", None),
    "two documents": ("server: {}\n---\nserver: {}", 2, "", "expected a single document", None),
    "key that is no word": ("? [a]\n: 1", 1, "", "a key must be a word", None),
    "not UTF-8": ("\nx: \udcff", 2, "", "not UTF-8", None),
    "control character": ("a: 1\nb: \x01", 2, "", "control character", None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_names_its_file_line_and_path(kind: str, mistakes_in: Mistakes) -> None:
    text, line, path, message, suggestion = KINDS[kind]
    found = mistakes_in(text.encode("utf-8", "surrogateescape"))
    assert len(found) == 1, found
    mistake = found[0]
    assert message in mistake.message
    assert mistake.file.endswith("gateway.yaml")
    assert (mistake.line, mistake.path, mistake.suggestion) == (line, path, suggestion)


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(mistakes_in: Mistakes) -> None:
    found = mistakes_in("""
server: {prot: 1, port: 0x1F}
retries: {attempts: none}
providers: {d: {type: dmo}}
models: [{name: m, targets: [{provider: e, model: x}]}]
stages: {mter: {}}
""")
    assert [(mistake.line, mistake.path) for mistake in found] == [
        (2, "server.port"),
        (2, "server.prot"),
        (3, "retries.attempts"),
        (4, "providers.d.type"),
        (5, "models[0].targets[0].provider"),
        (6, "stages.mter"),
    ]


def test_a_provider_with_a_wrong_value_is_still_known_to_its_targets(mistakes_in: Mistakes) -> None:
    found = mistakes_in("providers: {d: {type: demo, nonsense: 1}, e: 5}\nmodels: [" + MODEL + "]")
    assert [mistake.path for mistake in found] == ["providers.d.nonsense", "providers.e"]


def test_a_value_at_a_path_that_is_wrong_altogether_takes_nothing_else_with_it(mistakes_in: Mistakes) -> None:
    found = mistakes_in("server: [port]\nport: 1\nproviders: {d: {type: dmo}}")
    assert [mistake.path for mistake in found] == ["server", "port", "providers.d.type"]


def test_a_failure_names_the_files_whose_change_may_mend_it(load_text: Load, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text("include: [a.yaml, gone.yaml]", {"a.yaml": "sever: {}"})
    assert caught.value.source_files == tuple(tmp_path / name for name in ("gateway.yaml", "a.yaml", "gone.yaml"))


def test_a_mistake_reads_like_a_compilers(load_text: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text("server:\n  prot: 1")
    line = str(caught.value)
    assert line.endswith("gateway.yaml:2: server.prot: there is no such setting (did you mean port?)")


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(
            f"{new}: &{new} [{','.join(['*' + old] * 10)}]" for old, new in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "a: &a {b: *a}",
        "a: &a {<<: *a}",
        "a: &a\n  - *a\n  - *a",
        "a: " + "[" * 5000,
        "a: " + "{a: " * 500 + "}" * 500,
        "a: '" + "x" * 1_100_000 + "'",
    ],
    ids=["laughs", "loop", "merge loop", "list loop", "brackets", "braces", "large"],
)
def test_a_bomb_is_a_mistake(bomb: str, mistakes_in: Mistakes) -> None:
    assert any("more than" in m.message or "larger" in m.message or "<<" in m.message for m in mistakes_in(bomb))


LEAKS = (
    "providers: {d: {type: demo, api_key: KEY}}",
    "providers: {d: {type: demo, api_key: [KEY]}}",
    "providers: {d: {type: demo, api_key: {env: KEY}}}",
    'providers: {d: {type: demo, "api_key:KEY": }}',
    "providers: {d: {type: demo, headers: {x-api-key: KEY}}}",
    "providers: {d: {type: demo, headers: {x-other: KEY}}}",
    "providers: {d: {type: demo, headers: {KEY: 'a '}}}",
    "providers: {d: {type: demo, headers: {KEY: 5}}}",
    "providers: {d: {type: demo, headers: KEY}}",
    "providers: {d: {type: KEY}}",
    "providers: {d: {type: demo, proxy: 'http://u:KEY@h:1'}}",
    "providers: {d: {type: demo, base_url: 'https://KEY@h/v1'}}",
    "providers: {d: {type: demo, base_url: 'https://h/v1?key=KEY'}}",
    "providers: {KEY: {type: nothing}}",
    "providers: {d: {type: demo, api_key: env:KEY}}",
    "providers: {d: KEY}",
    "database: {url: 'postgres://u:KEY@h/d'}",
    "valkey: {url: KEY}",
    "server: KEY",
    "server: {port: KEY}",
    "server: {KEY: 1}",
    "server: {tls: KEY}",
    "logging: {level: KEY}",
    "passthrough: {provider: KEY}",
    "stages: {KEY: {}}",
    "include: [KEY]",
    "models: [{name: m, targets: [{provider: KEY, model: x}]}]",
    "models: [KEY]",
    "x: *KEY",
    "x: !KEY y",
    "x: !KEY!a y",
    "%KEY\n",
    "x: &KEY 1\ny: &KEY 1",
    "x: 'KEY",
    "x: {KEY",
    "KEY",
    "KEY: 1\nKEY: 2",
)


@pytest.mark.parametrize("key", ["sk-proj-Abc123Abc123Abc123Abc123Abc123", "4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"])
@pytest.mark.parametrize("text", LEAKS)
def test_no_mistake_repeats_what_may_be_a_secret(text: str, key: str, load_text: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text(text.replace("KEY", key))
    assert key not in str(caught.value)
    assert key not in repr(caught.value)
    assert caught.value.__cause__ is None
