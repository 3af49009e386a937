"""Dispatch's watcher: retries and fallbacks as metrics."""

from __future__ import annotations

from gateway.metrics import Metrics
from gateway.upstream.job import Job
from gateway.upstream.target import Target


class RetryCounts:
    """Dispatch's watcher: retries and fallbacks as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def retried(self, target: Target, code: str) -> None:
        """A second try at the same target."""
        self._metrics.retries.child(target.provider, code).inc()

    def fell_back(self, job: Job, code: str) -> None:
        """Another target is tried."""
        self._metrics.fallbacks.child(job.asked_model).inc()

    def budget_exhausted(self) -> None:
        """A retry was not made."""
        self._metrics.retry_budget_exhausted.child().inc()
