"""Where the admin API can be reached: on loopback, where it is told to be, and nowhere else."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.gateway_process import MASTER_KEY, free_port, gateway

CONFIG = """
providers: {{demo: {{type: demo}}}}
models: [{{name: demo, targets: [{{provider: demo, model: demo}}]}}]
server: {{host: {host}}}
admin: {admin}
"""


def status(url: str, headers: Mapping[str, str] | None = None) -> int:
    request = urllib.request.Request(url, headers=headers or {"Authorization": f"Bearer {MASTER_KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("host", "admin", "expected"),
    [("127.0.0.1", "{}", 200), ("0.0.0.0", "{}", 404), ("0.0.0.0", "{expose: true}", 200)],
)
def test_off_loopback_admin_is_served_only_where_it_is_exposed(
    tmp_path: Path, host: str, admin: str, expected: int
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG.format(host=host, admin=admin))
    with gateway(tmp_path / "home", config) as running:
        assert status(f"{running.url}/admin/keys") == expected
        assert status(f"{running.url}/metrics") == 200
        if expected == 200:
            assert status(f"{running.url}/admin/keys", {"Authorization": "Bearer no"}) == 401


def test_an_admin_address_of_its_own_takes_admin_and_metrics_with_it(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG.format(host="0.0.0.0", admin=f'{{listen: "127.0.0.1:{port}"}}'))
    with gateway(tmp_path / "home", config) as running:
        for path in ("/admin/keys", "/metrics"):
            assert status(f"{running.url}{path}") == 404
            assert status(f"http://127.0.0.1:{port}{path}") == 200
        assert status(f"http://127.0.0.1:{port}/v1/models") == 404
