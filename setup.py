"""How the package is built. Set GATEWAY_COMPILE=1 to have the request path compiled (mypyc); it needs a C compiler.

Without it, and in an editable install, everything stays Python, and behaves the same.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup

# What runs for every request, by package. What is compiled together calls each other directly, so whoever belongs to
# it is better in here; what only prepares, administers or is asked seldom is not.
COMPILED = {
    "": "errors",
    "metrics": "families totals",
    "pipeline": """
        call capping expected governed governor once pipeline purse references reporting reservation rules stage
    """,
    "pipeline/stages": """
        admit answer_once authenticate check_budget check_references choose_route limit_rate meter read_request
    """,
    "providers": "billing price provider",
    "server": "answering finished framing gate head hot_lane line_sink recorder request_log status",
    "services/bounds": "content fields output rates texts worst_case",
    "services/budgets": "budget held service",
    "services/keys": "key service snapshot",
    "services/ledger": "bound entry journal segment",
    "services/limits": "limit service",
    "services/prices": "service",
    "services/quota": "ask counter exchange leases options outage service silence",
    "services/routing": "routes",
    "store": "scopes",
    "upstream": """
        answer attempt burst connection demo dispatch exchange health job key_ring origin passage passages pool pursuit
        request retries straight target
    """,
    "wire": """
        duplicates endpoint flat openai openai_answer openai_dialect_request openai_objects reporting splice sse
        token_estimate usage
    """,
}
# Types are judged by `make check`; here those of libraries need not even be there.
LENIENT = ["--config-file=", "--ignore-missing-imports", "--cache-dir=build/mypy"]
MYPYC = "mypy==2.4.1"


def compile_request_path() -> None:
    """Build the package with what `COMPILED` names as C extensions."""
    from mypyc.build import mypycify

    files = [
        str(Path("gateway", package, f"{name}.py")) for package, names in COMPILED.items() for name in names.split()
    ]
    # Looking for warnings in what was generated takes gcc minutes.
    os.environ["CFLAGS"] = f"{os.environ.get('CFLAGS', '')} -w"
    modules = mypycify(
        [*LENIENT, *files],
        opt_level="2",
        debug_level="0",
        group_name="kubechat_gateway",
    )
    setup(ext_modules=modules)


# setuptools runs this file for the requirements of the build and for the metadata, too.
if os.environ.get("GATEWAY_COMPILE") != "1":
    setup()
elif "bdist_wheel" in sys.argv:
    compile_request_path()
else:
    setup(setup_requires=[MYPYC])
