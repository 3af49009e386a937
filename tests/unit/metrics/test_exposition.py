"""What a scraper reads, and that the event loop is not held up by it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway import __version__
from gateway.metrics import Metrics, exposition
from gateway.metrics.document import table, with_table
from gateway.metrics.exposition import Pace
from gateway.metrics.process import watch_process
from gateway.metrics.table import PREFIX, TABLE, Kind

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def filled() -> Metrics:
    metrics = Metrics.in_memory()
    for spec in TABLE:
        child = metrics._by_name(spec.name).child(*("x",) * len(spec.labels))
        if spec.kind is Kind.HISTOGRAM:
            child.observe(0.01)  # type: ignore[attr-defined]
        else:
            child.inc()
    return metrics


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", parse_text),
        ("text/html,*/*", "text/plain; version=0.0.4; charset=utf-8", parse_text),
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text; version=1.0.0",
            parse_openmetrics,
        ),
    ],
)
def test_every_metric_is_exposed_in_the_format_the_scraper_asks_for(accept, content_type, parse) -> None:
    body, given = filled().render(accept)
    assert given.startswith(content_type)
    families = {family.name: family for family in parse(body.decode())}
    for spec in TABLE:
        family = families[(PREFIX + spec.name).removesuffix("_total")]
        assert family.type == spec.kind.value
        assert family.documentation == spec.help


def test_the_version_is_shown() -> None:
    assert f'gateway_build_info{{version="{__version__}"}} 1.0' in Metrics.in_memory().render()[0].decode()


def test_counters_without_labels_are_shown_before_their_first_event() -> None:
    assert "gateway_client_disconnects_total 0.0" in Metrics.in_memory().render()[0].decode()


async def test_the_scrape_made_beside_the_loop_equals_the_plain_one(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, "w")
    for n in range(100):
        metrics.request_duration.child("chat", f"m{n}").observe(0.1)
    assert await metrics.expose() == metrics.render()


async def test_scrapes_at_the_same_time_count_nothing_twice(tmp_path: Path) -> None:
    a, b = Metrics.open(tmp_path, "a"), Metrics.open(tmp_path, "b")
    for n in range(50):
        b.fallbacks.child(f"m{n}").inc()
    bodies = await asyncio.gather(*(a.expose() for _ in range(8)))
    assert len({body for body, _ in bodies}) == 1
    assert b'gateway_fallbacks_total{model="m7"} 1.0' in bodies[0][0]


async def test_a_scrape_beside_the_loop_steps_aside_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = [Metrics.open(tmp_path, f"w{n}") for n in range(4)]
    for metrics in workers:
        for n in range(200):
            metrics.fallbacks.child(f"m{n}").inc()
            metrics.request_duration.child("chat", f"m{n}").observe(0.1)
    rests: list[float] = []
    # One thread keeps the interpreter for 5 ms at a time unless it sleeps, which lets the loop have it.
    monkeypatch.setattr(exposition, "time", SimpleNamespace(perf_counter=time.perf_counter, sleep=rests.append))
    body, _ = await workers[0].expose()
    assert len(rests) > 10
    assert body.count(b"\n") > 4000


def test_the_pace_rests_after_each_slice_of_work_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = [0.0], []
    monkeypatch.setattr(exposition, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=rests.append))
    pace = Pace(slice_s=1.0, rest_s=0.5)
    for now[0] in (0.9, 1.1, 1.2, 2.0, 2.2):
        pace()
    assert rests == [0.5, 0.5]


def test_the_process_shows_its_memory_files_and_cpu_time() -> None:
    metrics = Metrics.in_memory()
    watch_process(metrics)
    metrics.refresh()
    assert metrics.total("resident_memory_bytes") > 1_000_000
    assert metrics.total("open_file_descriptors") > 2
    assert metrics.total("cpu_seconds_total") > 0


def test_the_documented_table_is_the_one_in_force() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run: python -m gateway.metrics.document docs/metrics.md"
    assert table().count("\n") == len(TABLE) + 2


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_table("# Metrics\n")
