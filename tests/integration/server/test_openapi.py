"""The running gateway does what /openapi.json says: Schemathesis asks it, rightly and wrongly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import Upstream

ROOT = Path(__file__).parents[3]
_CONFIG = """
seed = 1
color = false

[checks]
# Bodies of the admin API have rules between fields and moments that a schema cannot give (a time in the future).
positive_data_acceptance.enabled = {positive}
# A query is text: a boolean in it may also be written 1 or yes.
negative_data_rejection.enabled = {negative}

[generation]
deterministic = true
max-examples = {examples}
exclude-header-characters = "\\r\\n\\u0000"

# It asks a provider that was made up, over a network that is not there: 502 is right.
[[operations]]
include-operation-id = "listProviderModels"
checks.not_a_server_error.enabled = false
"""


# For what is passed through: a provider that has it.
_PROVIDER = """
include: [{config}]
providers: {{lab: {{type: openai, base_url: "http://127.0.0.1:{port}/v1", api_key: none}}}}
passthrough: {{provider: lab}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("api")
    upstream = Upstream(sys.executable, "-m", "tests.fake_openai", "PORT", probe="/v1/models")
    upstream.launch()
    config = folder / "gateway.yaml"
    config.write_text(_PROVIDER.format(config=ROOT / "config" / "gateway.yaml", port=upstream.port))
    try:
        with gateway(folder / "home", config) as process:
            upstream.wait()
            yield process
    finally:
        upstream.kill()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("tag", "positive", "negative", "examples"),
    [
        ("inference", "true", "true", 60),
        ("anthropic", "false", "false", 30),  # 1.0 is an integer to JSON Schema alone
        ("rerank", "false", "true", 20),  # the demo model has no rerank
        ("passed_through", "false", "false", 15),  # what is in a body is the provider's to judge
        ("caller", "true", "true", 20),
        ("status", "true", "true", 5),
        ("admin", "false", "false", 30),
    ],
)
def test_every_answer_is_as_described(
    running: GatewayProcess, tmp_path: Path, tag: str, positive: str, negative: str, examples: int
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(_CONFIG.format(positive=positive, negative=negative, examples=examples))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{running.url}/openapi.json", "--include-tag", tag, "--max-failures", "20"]
    command += ["--header", f"Authorization: Bearer {MASTER_KEY}", "--phases", "examples,coverage,fuzzing"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.server.schemathesis_hooks"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **hooks, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated.group(1)) > 10
    assert "Traceback" not in running.log
    assert '"internal_error"' not in running.log
    if tag == "inference":  # it has not just been refused
        served = [line.get("endpoint") for line in running.log_lines() if line.get("status") == 200]
        assert {"chat", "completions", "embeddings"} <= set(served)
    if tag == "passed_through":
        served = [line.get("endpoint") for line in running.log_lines() if line.get("status") == 200]
        assert {"responses", "moderations", "images", "files", "uploads", "batches"} <= set(served)
