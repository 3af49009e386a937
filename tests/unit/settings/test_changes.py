from __future__ import annotations

import orjson

from gateway.settings import RESTART_ONLY, Settings, diff, dump, needs_restart
from gateway.settings.schema import all_settings
from tests.unit.settings.conftest import Load

BEFORE = """
server: {port: 1}
providers: {d: {type: demo}, e: {type: demo, api_key: env:A}}
models:
  - {name: a, targets: [{provider: d, model: x}]}
  - {name: b, targets: [{provider: d, model: x}], price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
"""
AFTER = """
server: {port: 2}
logging: {bodies: all}
providers: {d: {type: demo}, e: {type: demo, api_key: env:B}, f: {type: demo}}
models:
  - {name: b, targets: [{provider: d, model: y}], price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 3}}
"""


def test_a_difference_is_named_by_path_and_models_by_name(load_text: Load) -> None:
    assert diff(load_text(BEFORE), load_text(AFTER)) == [
        "logging.bodies",
        "models.a",
        "models.b.price.output_usd_per_mtok",
        "models.b.targets[0].model",
        "providers.e.api_key",
        "providers.f",
        "server.port",
    ]


def test_the_same_settings_written_differently_do_not_differ(load_text: Load) -> None:
    assert diff(Settings(), load_text("# a comment\nserver: {port: 8080}\n")) == []
    assert diff(load_text("upstream: {total_timeout_s: 600}"), load_text("upstream: {total_timeout_s: 600.0}")) == []


def test_only_some_changes_need_a_restart(load_text: Load) -> None:
    changed = diff(load_text(BEFORE), load_text(AFTER))
    assert needs_restart(changed) == ["server.port"]
    tls = "server: {tls: {cert_file: c, key_file: k}}"
    assert needs_restart(diff(Settings(), load_text(tls))) == ["server.tls"]
    assert needs_restart(["server.portal", "ledgers", "ledger.fsync"]) == ["ledger.fsync"]


def test_every_path_that_needs_a_restart_is_a_setting() -> None:
    assert set(RESTART_ONLY) <= {setting.path for setting in all_settings()}


def test_a_dump_is_json_with_every_section(load_text: Load) -> None:
    dumped = orjson.loads(orjson.dumps(dump(load_text(BEFORE))))
    assert set(dumped) == set(Settings.model_fields)
    assert dumped["providers"]["e"]["api_key"] == "env:A"
    assert dumped["models"][1]["price"]["output_usd_per_mtok"] == "2"
