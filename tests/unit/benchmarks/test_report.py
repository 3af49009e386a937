"""Tables, Markdown and chart from a results file."""

from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import chart, report
from benchmarks.figures import Check

_RATES = {"p50_ms": 1.0, "p99_ms": 2.0, "cpu_us_per_request": 50.0, "ready_s": 1.0, "runs": 7}
_ADDED = {"added_p50_ms": 0.08, "added_p99_ms": 0.3, "through_ms": {"p50": 0.1, "count": 9}, "direct_ms": {"p50": 0.02}}


@pytest.fixture
def results() -> dict[str, Any]:
    good = Check("throughput: ours / nginx", 0.312, "×", least=0.28)
    bad = Check("added latency, one connection, median", 0.4, "ms", most=0.3)
    return {
        "conditions": {
            "date": "2026-01-02 03:04 UTC",
            "processor": "Some <CPU>",
            "cores": 2,
            "memory_gb": 25,
            "kernel": "6.1",
            "commit": "abc",
            "version_nginx": "1.22.1",
        },
        "sections": {
            "throughput": {
                "medians": {
                    "nginx": {"requests_per_s": 52000.0, **_RATES},
                    "ours": {"requests_per_s": 16000.0, **_RATES},
                },
                "ratios": {"nginx": 0.312},
                "checks": [good.as_json()],
            },
            "latency": {"contestants": {"ours": _ADDED, "nginx": _ADDED}, "checks": [bad.as_json()]},
        },
    }


def test_the_terminal_shows_every_target_with_its_verdict(results: dict[str, Any]) -> None:
    console = Console(width=140, file=None, force_terminal=False)
    with console.capture() as shown:
        report.show(results, console)
    lines = shown.get().splitlines()
    assert any("ours / nginx" in line and "0.312 ×" in line and "pass" in line for line in lines)
    assert any("median" in line and "≤ 0.3 ms" in line and "MISS" in line for line in lines)


def test_markdown_holds_conditions_and_all_tables(results: dict[str, Any]) -> None:
    text = report.markdown(results)
    assert "2 cores" in text
    assert "nginx 1.22.1" in text
    assert "| throughput: ours / nginx | ≥ 0.28 × | 0.312 × | met |" in text
    assert "| KubeChat gateway | 16,000 | 1 |" in text


def test_figures_are_put_between_the_markers_and_nothing_else_changes() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.insert(document, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.insert(once, "new") == once


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(report.NoMarkers):
        report.insert("nothing here", "new")


@pytest.mark.parametrize(("value", "text"), [(16234.4, "16,234"), (0.31234, "0.312"), (0.0, "0"), (2, "2")])
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert report.significant(value) == text


def test_the_chart_is_valid_xml_with_a_bar_for_each_contestant(results: dict[str, Any]) -> None:
    root = ElementTree.fromstring(chart.draw(results))
    bars = root.findall(".//{http://www.w3.org/2000/svg}rect")
    assert [bar.get("class") for bar in bars] == ["bar", "bar ours", "bar", "bar ours"]
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "16,000" in texts
    assert any(text and "Some <CPU>" in text for text in texts)


def test_linear_bars_are_in_proportion() -> None:
    full, half = chart.widths([100.0, 50.0], logarithmic=False)
    assert full == 2 * half


def test_logarithmic_bars_differ_by_decades_and_bear_a_value_of_nought() -> None:
    small, middle, large, none = chart.widths([0.1, 1.0, 10.0, 0.0], logarithmic=True)
    assert middle - small == pytest.approx(large - middle)
    assert none == 1.0
