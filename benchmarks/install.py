"""Install what the benchmark measures against: nginx, wrk, LiteLLM's proxy, Portkey's gateway, py-spy.

Debian's packages are installed only where they are absent and only as root; everything else goes below
`benchmarks/.cache/`, each Python tool in a virtual environment of its own, so that nothing a peer
needs can change what the gateway runs on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parent / ".cache"
LITELLM = "1.106.2"
PORTKEY = "1.15.2"
PY_SPY = "0.4.1"


class MissingTool(Exception):
    """Something the benchmark needs is absent and cannot be installed from here; the text says what to do."""


def debian(command: str, package: str) -> Path:
    """Return the path of `command`, installing Debian's `package` first where it is absent."""
    if (found := _which(command)) is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise MissingTool(f"{command} is missing: install it first (Debian and Ubuntu: sudo apt-get install {package})")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=env)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True, env=env)
    if (found := _which(command)) is None:
        raise MissingTool(f"apt-get installed {package}, but {command} is still not to be found")
    return found


def litellm() -> Path:
    """Return the directory of the virtual environment that holds LiteLLM's proxy, made on first use."""
    return _venv("litellm", f"litellm[proxy]=={LITELLM}")


def py_spy() -> Path:
    """Return the path of the py-spy command, installed on first use."""
    return _venv("py-spy", f"py-spy=={PY_SPY}") / "bin" / "py-spy"


def portkey() -> Path:
    """Return the script that starts Portkey's gateway (run it with node), installed on first use."""
    debian("node", "nodejs")
    directory = CACHE / f"portkey-{PORTKEY}"
    script = directory / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not script.exists():
        npm = debian("npm", "npm")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "package.json").write_text('{"private": true}\n')
        _run([str(npm), "install", "--no-audit", "--no-fund", f"@portkey-ai/gateway@{PORTKEY}"], directory)
    return script


def _which(command: str) -> Path | None:
    """`command` on the path or in /usr/sbin, where nginx lives and which is not on everyone's path."""
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _venv(name: str, requirement: str) -> Path:
    version = requirement.partition("==")[2]
    directory = CACHE / f"{name}-{version}"
    stamp = directory / ".installed"
    if not stamp.exists():
        shutil.rmtree(directory, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(directory)], Path.cwd())
        pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, requirement], directory)
        stamp.touch()
    return directory


def _run(command: list[str], cwd: Path) -> None:
    """Run an installer; its output is shown only when it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise MissingTool(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
