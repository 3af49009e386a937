"""The chart of the docs, an SVG written by hand: requests per second and added latency of each contestant. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

LABELS = {
    "ours": "KubeChat gateway",
    "nginx": "nginx (plain reverse proxy)",
    "litellm": "LiteLLM proxy",
    "portkey": "Portkey gateway",
}
_ORDER = ("nginx", "ours", "portkey", "litellm")

_WIDTH = 760
_LABEL_WIDTH = 210
_BAR_WIDTH = 400
_ROW = 30

# Readable on a light and on a dark page alike: the text follows the reader's scheme.
_STYLE = """\
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 15px; }
  .note { font-size: 12px; fill: #59636e; }
  .bar { fill: #9aa4b0; }
  .ours { fill: #2f6feb; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .note { fill: #9198a1; } }
</style>"""


@dataclass(frozen=True)
class Bar:
    """One bar: a contestant, its value, and the value in words."""

    name: str
    value: float
    text: str


def draw(results: dict[str, Any]) -> str:
    """The chart of a results file, as SVG text."""
    panels = [
        _panel("Requests per second, one worker, 64 connections", "more is better", _throughput(results)),
        _panel(
            "Latency added at one connection, median, logarithmic",
            "less is better",
            _latency(results),
            logarithmic=True,
        ),
    ]
    y, parts = 10, []
    for svg, height in (panel for panel in panels if panel is not None):
        parts.append(f'<g transform="translate(10 {y})">{svg}</g>')
        y += height + 18
    conditions = results["conditions"]
    machine = f"{conditions['processor']}, {conditions['cores']} cores for everything, {conditions['date']}"
    parts.append(f'<text class="note" x="10" y="{y + 8}">{escape(machine)}</text>')
    size = f'width="{_WIDTH}" height="{y + 20}" viewBox="0 0 {_WIDTH} {y + 20}"'
    inside = "\n".join([_STYLE, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Benchmark">\n{inside}\n</svg>\n'


def _throughput(results: dict[str, Any]) -> list[Bar]:
    medians = results["sections"].get("throughput", {}).get("medians", {})
    rates = {name: medians[name]["requests_per_s"] for name in _ORDER if name in medians}
    return [Bar(name, rate, f"{rate:,.0f}") for name, rate in rates.items()]


def _latency(results: dict[str, Any]) -> list[Bar]:
    measured = results["sections"].get("latency", {}).get("contestants", {})
    added = {name: measured[name]["added_p50_ms"] for name in _ORDER if name in measured}
    return [Bar(name, value, f"{value:.2f} ms") for name, value in added.items()]


def _panel(title: str, note: str, bars: Sequence[Bar], *, logarithmic: bool = False) -> tuple[str, int] | None:
    """One group of bars and its height in pixels; None without bars."""
    if not bars:
        return None
    lines = [f'<text class="title" x="0" y="16">{escape(title)} <tspan class="note">({escape(note)})</tspan></text>']
    for row, (bar, width) in enumerate(zip(bars, widths([bar.value for bar in bars], logarithmic), strict=True)):
        y = 30 + row * _ROW
        kind = "bar ours" if bar.name == "ours" else "bar"
        lines.append(f'<text x="0" y="{y + 15}">{escape(LABELS[bar.name])}</text>')
        lines.append(f'<rect class="{kind}" x="{_LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="20" rx="2"/>')
        lines.append(f'<text x="{_LABEL_WIDTH + width + 8:.1f}" y="{y + 15}">{escape(bar.text)}</text>')
    return "\n".join(lines), 30 + len(bars) * _ROW


def widths(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Widths of bars in pixels. Logarithmic: the axis begins a decade below the smallest value's decade."""
    if not logarithmic:
        largest = max(values)
        return [max(value / largest * _BAR_WIDTH, 1.0) for value in values]
    positive = [value for value in values if value > 0]
    if not positive:
        return [1.0 for _ in values]
    start = math.floor(math.log10(min(positive))) - 1
    span = math.log10(max(positive)) - start
    return [max((math.log10(value) - start) / span * _BAR_WIDTH, 1.0) if value > 0 else 1.0 for value in values]
