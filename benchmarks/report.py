"""Show a run's results: tables on the terminal, and the figures of the docs between two markers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.chart import LABELS
from benchmarks.figures import median

BEGIN = "<!-- figures:begin (written by python -m benchmarks --publish) -->"
END = "<!-- figures:end -->"


class NoMarkers(Exception):
    """The document has no place for the figures."""


def checks(results: dict[str, Any]) -> list[dict[str, Any]]:
    """All checks of all sections, in the order they were made."""
    return [check for section in results["sections"].values() for check in section["checks"]]


def show(results: dict[str, Any], console: Console) -> None:
    """Print a table for each section and the targets with their verdicts."""
    for title, header, rows in tables(results):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(header):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    verdicts = Table(title="Targets", title_justify="left")
    for column in ("what", "target", "measured", ""):
        verdicts.add_column(column)
    for check in checks(results):
        verdict = "[green]pass[/]" if check["passed"] else "[bold red]MISS[/]"
        verdicts.add_row(check["name"], check["target"], measured(check), verdict)
    console.print(verdicts)


def measured(check: dict[str, Any]) -> str:
    """A check's measured value with its unit, to three significant digits."""
    return f"{significant(check['measured'])} {check['unit']}".rstrip()


def significant(value: float) -> str:
    """A number as people read it: whole from 100 on, else three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def tables(results: dict[str, Any]) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each section's table."""
    sections = results["sections"]
    if "start" in sections:
        yield _start(sections["start"])
    if "throughput" in sections:
        yield _throughput(sections["throughput"])
    if "governed" in sections:
        yield _governed(sections["governed"])
    if "latency" in sections:
        yield _latency(sections["latency"])
    if "streams" in sections:
        yield _streams(sections["streams"])
    if "translated" in sections:
        yield _translated(sections["translated"])
    if "memory" in sections:
        yield _memory(sections["memory"])


def _start(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = [
        [label, f"{min(times):.2f}", f"{median(times):.2f}", f"{max(times):.2f}"]
        for label, times in (("on a new home", section["first_s"]), ("later", section["later_s"]))
    ]
    return "Start", ["from the command to /readyz", "least s", "median s", "most s"], rows


def _throughput(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for name, figures in section["medians"].items():
        ratio = "1" if name == "ours" else f"{significant(section['ratios'][name])} ×"
        numbers = [f"{figures['requests_per_s']:,.0f}", ratio, f"{figures['p50_ms']:,.1f}", f"{figures['p99_ms']:,.1f}"]
        rows.append([LABELS[name], *numbers, f"{figures['cpu_us_per_request']:,.0f}", str(figures["runs"])])
    header = ["one worker, 64 connections", "requests/s", "ours is", "p50 ms", "p99 ms", "CPU µs/request", "runs"]
    return "Throughput", header, rows


def _governed(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for at, label in ((0, "KubeChat gateway, all limits and a hard budget on the key"), (1, LABELS["nginx"])):
        runs = [pair[at] for pair in section["pairs"]]
        rate = median([run["requests"] / run["seconds"] for run in runs])
        cpu = median([run["cpu_us_per_request"] for run in runs])
        rows.append([label, f"{rate:,.0f}", f"{cpu:,.0f}", str(len(runs))])
    return "Limits and budgets", ["one worker, 64 connections", "requests/s", "CPU µs/request", "runs"], rows


def _latency(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for name, figures in section["contestants"].items():
        added = [f"{figures['added_p50_ms']:.3f}", f"{figures['added_p99_ms']:.3f}"]
        through, direct = figures["through_ms"], figures["direct_ms"]
        rows.append([LABELS[name], *added, f"{through['p50']:.3f}", f"{direct['p50']:.3f}", f"{through['count']:,}"])
    header = ["one connection", "added p50 ms", "added p99 ms", "p50 ms", "direct p50 ms", "requests"]
    return "Added latency", header, rows


def _streams(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for label, case in section["cases"].items():
        first = [f"{case['added_first_token_p50_ms']:.1f}", f"{case['added_first_token_p99_ms']:.1f}"]
        behind = [f"{case['added_behind_p99_ms']:.1f}", f"{case['behind_max_s'] * 1e3:.0f}"]
        rows.append([label, *first, *behind, f"{case['complete']:,}/{case['streams']:,}", f"{case['cores']:.2f}"])
    header = ["20 chunks/s each", "added first token p50 ms", "p99 ms", "chunk p99 ms", "furthest behind ms"]
    return "Streams", [*header, "complete", "cores"], rows


def _translated(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = [
        [label, f"{median([pair[at]['requests'] / pair[at]['seconds'] for pair in section['pairs']]):,.0f}", cpu]
        for at, label in ((1, "bytes pass"), (0, "translated to Anthropic's dialect and back"))
        for cpu in [f"{median([pair[at]['cpu_us_per_request'] for pair in section['pairs']]):,.0f}"]
    ]
    return "Translation", ["one worker, 64 connections", "requests/s", "CPU µs/request"], rows


def _memory(section: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    idle = section["idle"]
    rows = [["idle", f"{idle['rss_mb']:.1f}", f"{idle['pss_mb']:.1f}", ""]]
    for part in (section["requests"], section["cuts"]):
        before, after = part["before"], part["after"]
        rows.append([f"before: {part['what']}", f"{before['rss_mb']:.1f}", f"{before['pss_mb']:.1f}", ""])
        growth = f"{part['growth_percent']:+.1f} %"
        rows.append([f"after: {part['what']}", f"{after['rss_mb']:.1f}", f"{after['pss_mb']:.1f}", growth])
    return "Memory of one worker", ["when", "resident MB", "proportional MB", "growth"], rows


def markdown(results: dict[str, Any]) -> str:
    """The figures as Markdown: conditions, targets, and a table a section."""
    parts = [_conditions(results["conditions"])]
    rows = [
        [check["name"], check["target"], measured(check), "met" if check["passed"] else "**missed**"]
        for check in checks(results)
    ]
    parts.append("### Targets\n\n" + _grid(["what", "target", "measured", ""], rows))
    parts += [f"### {title}\n\n{_grid(header, rows)}" for title, header, rows in tables(results)]
    return "\n\n".join(parts)


def insert(document: str, figures: str) -> str:
    """Put the figures between the document's markers; raise `NoMarkers` where they are missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarkers(f"the document needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def _conditions(conditions: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name.removeprefix('version_')} {value}" for name, value in conditions.items() if name.startswith("version_")
    )
    return (
        f"Measured {conditions['date']} at commit {conditions['commit']} on {conditions['processor']}, "
        f"{conditions['cores']} cores (shared by the gateway, its databases, the upstream and the load generator), "
        f"{conditions['memory_gb']} GB, Linux {conditions['kernel']}. Versions: {versions}."
    )


def _grid(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, *rows]]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)
