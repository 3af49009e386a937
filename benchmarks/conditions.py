"""Under what conditions a run was made: machine, versions. No names and no paths of the machine."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from benchmarks import install
from benchmarks.plan import Plan


def gather(plan: Plan) -> dict[str, str | int | float]:
    """Processor, cores, memory, load before the run, and the versions of all that takes part."""
    contestants = plan.contestants
    versions: dict[str, str] = {
        "python": _version([str(Path(plan.gateway).with_name("python")), "--version"]),
        "uvloop": metadata.version("uvloop"),
        "gateway": f"{metadata.version('kubechat-gateway')} ({'from source' if plan.from_source else 'compiled'})",
        "nginx": _version([str(install.debian("nginx", "nginx-light")), "-v"]),
        "wrk": _version([str(install.debian("wrk", "wrk")), "-v"]),
    }
    if "litellm" in contestants:
        versions["litellm"] = install.LITELLM
    if "portkey" in contestants:
        versions["portkey"] = install.PORTKEY
        versions["node"] = _version([str(install.debian("node", "nodejs")), "--version"])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
        **{f"version_{name}": version for name, version in versions.items()},
    }


def processor(cpuinfo: str) -> str:
    """The processor's model from the text of `/proc/cpuinfo`."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _version(command: list[str]) -> str:
    """The first dotted number that the command prints, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _commit() -> str:
    """The checkout's commit, with `+` when files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True)
    if head.returncode != 0:
        return "unknown"
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True)
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
