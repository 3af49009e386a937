"""`make bench`, or `python -m benchmarks --help`."""

from __future__ import annotations

import datetime
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from benchmarks import (
    chart,
    conditions,
    contestants,
    governed,
    latency,
    memory,
    profiling,
    report,
    start,
    streams,
    throughput,
    translated,
)
from benchmarks.install import MissingTool
from benchmarks.plan import Plan
from benchmarks.processes import Failed

SECTIONS: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "start": start.measure,
    "throughput": throughput.measure,
    "governed": governed.measure,
    "latency": latency.measure,
    "streams": streams.measure,
    "translated": translated.measure,
    "memory": memory.measure,
}
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
_BUSY_LOAD = 0.7


def _names(allowed: tuple[str, ...]) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    """A click callback that splits a comma-separated list and refuses a name that is not allowed."""

    def split(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        if unknown := [name for name in names if name not in allowed]:
            raise click.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(allowed)}")
        return names

    return split


@click.command()
@click.option(
    "--only", default=",".join(SECTIONS), callback=_names(tuple(SECTIONS)), show_default=True, help="Sections."
)
@click.option(
    "--contestants",
    "chosen",
    default=",".join(contestants.NAMES),
    callback=_names(contestants.NAMES),
    show_default=True,
    help="Who takes part; ours always does.",
)
@click.option("--quick", is_flag=True, help="A short smoke run, whose figures mean little.")
@click.option("--self-check", is_flag=True, help="nginx in the gateway's place: its ratio to nginx must be near 1.")
@click.option("--from-source", is_flag=True, help="The gateway as `make run` has it, instead of the compiled one.")
@click.option("--publish", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Write docs from a JSON.")
@click.option("--profile", "profiled", type=click.Choice(["ours", "litellm"]), help="Profile one under load.")
@click.option("--load", type=click.Choice(["requests", "streams"]), default="requests", help="Load for --profile.")
def main(
    only: tuple[str, ...],
    chosen: tuple[str, ...],
    quick: bool,
    self_check: bool,
    from_source: bool,
    publish: Path | None,
    profiled: str | None,
    load: str,
) -> None:
    """Measure the gateway beside nginx, LiteLLM and Portkey; exit 1 when a target is missed.

    Results go to benchmarks/results/; --publish FILE turns one of those into docs/benchmarks.md and
    docs/benchmark.svg.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    if publish is not None:
        _publish(publish)
        return
    # Two connections a stream and more: the usual soft limit of 1,024 files would be what is measured.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say: Callable[[str], None] = lambda line: console.print(line, highlight=False, markup=False)  # noqa: E731
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-bench-", ignore_cleanup_errors=True) as home:
            plan = Plan(Path(home), chosen, say, quick=quick, self_check=self_check, from_source=from_source)
            if profiled is not None:
                for path in profiling.profile(plan, profiled, load, RESULTS / "profiles"):
                    say(f"wrote {path.relative_to(ROOT)}")
                return
            results = _measure(plan, only)
    except (Failed, MissingTool) as error:
        raise click.ClickException(str(error)) from error
    _finish(results, console)


def _measure(plan: Plan, only: tuple[str, ...]) -> dict[str, Any]:
    """Run the sections in order; their results with the conditions they were made under."""
    results: dict[str, Any] = {
        "quick": plan.quick,
        "self_check": plan.self_check,
        "conditions": conditions.gather(plan),
        "sections": {},
    }
    if results["conditions"]["load_before"] > _BUSY_LOAD:
        plan.say(f"warning: this machine is busy (load {results['conditions']['load_before']}): figures will be poor")
    for name, measure in SECTIONS.items():
        if name in only:
            began = time.monotonic()
            plan.say(f"{name}:")
            results["sections"][name] = measure(plan)
            plan.say(f"  took {time.monotonic() - began:.0f} s")
    return results


def _finish(results: dict[str, Any], console: Console) -> None:
    """Write the JSON, print the tables, and end with status 1 where a target is missed."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    report.show(results, console)
    console.print(f"wrote {path.relative_to(ROOT)}")
    if results["quick"] or results["self_check"]:
        console.print("quick and self-check runs say nothing about the gateway's speed")
        return
    missed = [check["name"] for check in report.checks(results) if not check["passed"]]
    if missed:
        raise click.ClickException(f"{len(missed)} of {len(report.checks(results))} targets missed")


def _publish(source: Path) -> None:
    """Write the docs' figures and chart from a results file."""
    results = orjson.loads(source.read_bytes())
    if results["quick"] or results["self_check"]:
        raise click.ClickException("a quick or self-check run is not for publishing")
    document = ROOT / "docs/benchmarks.md"
    try:
        document.write_text(report.insert(document.read_text(), report.markdown(results)))
    except report.NoMarkers as error:
        raise click.ClickException(f"docs/benchmarks.md: {error}") from error
    (ROOT / "docs/benchmark.svg").write_text(chart.draw(results))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
