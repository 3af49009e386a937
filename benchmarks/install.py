"""Install what is measured and what it is measured against: the gateway, nginx, wrk, LiteLLM, Portkey, py-spy.

Debian's packages are installed only where they are absent and only as root; everything else goes below
`benchmarks/.cache/`, each Python program in a virtual environment of its own, so that nothing a peer
needs can change what the gateway runs on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = Path(__file__).parent / ".cache"
LITELLM = "1.106.2"
PORTKEY = "1.15.2"
PY_SPY = "0.4.1"
_STAMP = ".installed"
_WILL_DO = """
import ensurepip, pathlib, sys, sysconfig
sys.exit(sys.version_info < (3, 11) or not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())
"""


class MissingTool(Exception):
    """Something the benchmark needs is absent and cannot be installed from here; the text says what to do."""


def debian(command: str, package: str) -> Path:
    """Return the path of `command`, installing Debian's `package` first where it is absent."""
    if (found := _which(command)) is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise MissingTool(f"{command} is missing: install it first (Debian and Ubuntu: sudo apt-get install {package})")
    _apt(package)
    if (found := _which(command)) is None:
        raise MissingTool(f"apt-get installed {package}, but {command} is still not to be found")
    return found


def gateway() -> Path:
    """Return the directory of the virtual environment that holds the gateway as the image has it, made anew when the
    sources have changed: the request path compiled, on a Python that was built with profile-guided optimisation."""
    debian("cc", "gcc")
    python = _python()
    sources = [*(ROOT / "gateway").rglob("*.py"), ROOT / "setup.py", ROOT / "pyproject.toml"]
    digest = hashlib.sha256(python.encode())
    for source in sorted(sources):
        digest.update(source.read_bytes())
    directory = CACHE / f"gateway-{digest.hexdigest()[:16]}"
    if not (directory / _STAMP).exists():
        for old in CACHE.glob("gateway-*"):
            shutil.rmtree(old)
        _make_venv(directory, f"{ROOT}[embedded]", python, {"GATEWAY_COMPILE": "1"})
    return directory


def _python() -> str:
    """Debian's Python, which is built as the official images' is, where it will do; else the one that runs this."""
    debians = "/usr/bin/python3"
    if not _will_do(debians) and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        with contextlib.suppress(subprocess.CalledProcessError):
            _apt("python3-venv", "python3-dev")
    return debians if _will_do(debians) else sys.executable


def _will_do(python: str) -> bool:
    """Is it new enough, and can it make environments and compile for itself?"""
    try:
        return subprocess.run([python, "-c", _WILL_DO], capture_output=True).returncode == 0
    except OSError:
        return False


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


def _apt(*packages: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=env)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True, env=env)


def _which(command: str) -> Path | None:
    """`command` on the path or in /usr/sbin, where nginx lives and which is not on everyone's path."""
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _venv(name: str, requirement: str) -> Path:
    version = requirement.partition("==")[2]
    directory = CACHE / f"{name}-{version}"
    if not (directory / _STAMP).exists():
        _make_venv(directory, requirement, sys.executable)
    return directory


def _make_venv(directory: Path, requirement: str, python: str, env: Mapping[str, str] | None = None) -> None:
    """A virtual environment with `requirement` installed, and stamped when it is complete."""
    shutil.rmtree(directory, ignore_errors=True)
    _run([python, "-m", "venv", str(directory)], Path.cwd())
    pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, requirement], directory, env)
    (directory / _STAMP).touch()


def _run(command: list[str], cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run an installer; its output is shown only when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise MissingTool(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
