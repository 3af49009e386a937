"""Counting in one process: children, bounds on labels, buckets."""

from __future__ import annotations

import pytest

from gateway.metrics import Metrics
from gateway.metrics.families import Family
from gateway.metrics.slots import Slots
from gateway.metrics.table import SPECS, TABLE, Kind


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.in_memory()


def test_every_metric_of_the_table_is_an_attribute_of_the_right_kind(metrics: Metrics) -> None:
    families = {v.spec.name: v for v in vars(metrics).values() if isinstance(v, Family)}
    assert families.keys() == SPECS.keys()
    for spec in TABLE:
        child = families[spec.name].child(*("x",) * len(spec.labels))
        assert type(child).__name__.lower() == spec.kind.value


def test_names_follow_the_conventions_of_prometheus() -> None:
    for spec in TABLE:
        assert spec.name.endswith("_total") == (spec.kind is Kind.COUNTER), spec.name
        assert bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM), spec.name
        assert list(spec.buckets) == sorted(set(spec.buckets)), spec.name
        assert spec.help.endswith("."), spec.name


def test_a_child_is_the_same_object_each_time(metrics: Metrics) -> None:
    labels = ("chat", "m", "p", "200")
    assert metrics.requests.child(*labels) is metrics.requests.child(*labels)
    metrics.requests.child(*labels).inc()
    metrics.requests.child(*labels).inc(2)
    assert metrics.total("requests_total", *labels) == 3


def test_a_wrong_number_of_labels_is_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="requests_total"):
        metrics.requests.child("chat")


def test_gauges_go_up_and_down(metrics: Metrics) -> None:
    gauge = metrics.streams_open.child()
    gauge.inc(5)
    gauge.dec(2)
    assert gauge.value == 3
    gauge.set(0.5)
    assert metrics.total("streams_open") == 0.5


def test_an_observation_on_a_bound_belongs_to_its_bucket(metrics: Metrics) -> None:
    child = metrics.added_latency.child("chat")
    for seconds in (0.00005, 0.00006, 5.0):
        child.observe(seconds)
    text = metrics.render()[0].decode()
    assert 'gateway_added_latency_seconds_bucket{endpoint="chat",le="5e-05"} 1.0' in text
    assert 'gateway_added_latency_seconds_bucket{endpoint="chat",le="0.0001"} 2.0' in text
    assert 'gateway_added_latency_seconds_bucket{endpoint="chat",le="1.0"} 2.0' in text
    assert 'gateway_added_latency_seconds_bucket{endpoint="chat",le="+Inf"} 3.0' in text
    assert 'gateway_added_latency_seconds_count{endpoint="chat"} 3.0' in text
    assert (child.count, child.sum) == (3, pytest.approx(5.00011))


def test_cost_is_counted_in_nano_dollars_and_shown_in_dollars(metrics: Metrics) -> None:
    metrics.cost_usd.child("m", "p").inc(1_234_567_891)
    assert 'gateway_cost_usd_total{model="m",provider="p"} 1.234567891\n' in metrics.render()[0].decode()


def test_long_label_values_are_cut_and_odd_ones_survive(metrics: Metrics) -> None:
    metrics.fallbacks.child("é" * 500).inc()
    metrics.fallbacks.child('quo"te\nline\\').inc()
    metrics.fallbacks.child("lone \ud800").inc()
    text = metrics.render()[0].decode()
    assert f'model="{"é" * 100}"' in text
    assert 'model="quo\\"te\\nline\\\\"' in text
    assert 'model="lone ?"' in text


def test_label_sets_beyond_the_cap_are_counted_as_other_and_nothing_is_lost(metrics: Metrics) -> None:
    cap = SPECS["fallbacks_total"].cap
    for n in range(cap + 50):
        metrics.fallbacks.child(f"model-{n}").inc()
    assert metrics.total("fallbacks_total", "other") == 50
    assert metrics.total("series_dropped_total", "fallbacks_total") == 50
    assert metrics.fallbacks.child("model-3").value == 1


def test_fixed_labels_are_kept_when_open_ones_overflow(metrics: Metrics) -> None:
    spec = SPECS["requests_total"]
    for n in range(spec.cap):
        metrics.requests.child("chat", f"m{n}", "p", "200")
    metrics.requests.child("chat", "new", "p", "500").inc()
    assert metrics.total("requests_total", "chat", "other", "other", "500") == 1


def test_a_flood_of_fixed_labels_too_stays_within_the_slots_of_the_family(metrics: Metrics) -> None:
    for spec in TABLE:
        family = metrics._by_name(spec.name) if spec.labels else None  # every family at once must fit
        for n in range(spec.hard_cap * 2 if family else 0):
            assert family is not None
            family.child(*(f"v{n}",) * len(spec.labels))
    assert metrics._slots.add("fallbacks_total", ("fits",), 1) is not None
    assert metrics._slots.scratch >= max(at for at, _, _ in metrics._slots.series)


def test_a_series_that_cannot_be_listed_counts_into_scratch_slots() -> None:
    slots = Slots.in_memory()
    slots.add = lambda *_: None  # type: ignore[method-assign]  # as with a full disk
    metrics = Metrics(slots, Metrics.in_memory()._source)
    metrics.requests.child("chat", "m", "p", "200").inc()
    metrics.request_duration.child("chat", "m").observe(3)


def test_callbacks_set_plain_numbers_and_a_failing_one_does_not_stop_the_others(metrics: Metrics) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    metrics.on_collect(fail)
    metrics.on_collect(lambda: metrics.pool_created.child().track(7))
    metrics.refresh()
    assert metrics.total("pool_created_total") == 7
