"""The README's first screen, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson

from tests.acceptance.gateway_process import gateway

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str, holding: str) -> str:
    """The README's code block in `language` that holds this text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [found] = [text for text in blocks if holding in text]
    return found


def test_the_curl_the_sdks_and_the_key_of_the_readme_work(tmp_path: Path) -> None:
    home = tmp_path / ".kubechat-gateway"
    with gateway(home, ROOT / "config" / "gateway.yaml", env={"GATEWAY_MASTER_KEY": ""}) as g:

        def shell(script: str) -> bytes:
            script = script.replace("http://127.0.0.1:8080", g.url).replace(
                ".venv/bin/", f"{Path(sys.executable).parent}/"
            )
            env = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"}
            ran = subprocess.run(
                ["bash", "-c", script], env=env, cwd=ROOT, capture_output=True, timeout=60, check=False
            )
            assert ran.returncode == 0, ran.stderr.decode()
            return ran.stdout

        answer = orjson.loads(shell(block("bash", "curl ").replace("curl ", "curl --fail-with-body -s ")))
        assert "You said: Hello" in answer["choices"][0]["message"]["content"]
        assert shell(block("bash", "keys create")).decode().strip().startswith("sk-kc-")
        script = tmp_path / "sdk.py"
        for sdk in ("OpenAI(", "Anthropic("):
            script.write_text(block("python", sdk).replace("http://127.0.0.1:8080", g.url))
            assert "You said: Hello" in shell(f".venv/bin/python {script}").decode()


def test_the_commands_of_the_first_screen_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"run", "test", "bench"} <= named <= targets
