"""What did it use, and what does that cost?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from gateway.metrics import Counter, Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.reporting import Reporting
from gateway.pipeline.stage import Stage
from gateway.providers.price import Price
from gateway.services.catalogue.row_ids import RowIds
from gateway.services.ledger.entry import Entry, Outcome, render_scope
from gateway.services.ledger.service import Ledger
from gateway.services.prices.service import Prices
from gateway.upstream.job import Outcome as AttemptOutcome
from gateway.upstream.target import Target
from gateway.wire.token_estimate import BYTES_PER_TOKEN
from gateway.wire.usage import Usage

_MAX_SCOPES = 50_000
_DOCUMENTS_PER_SEARCH_UNIT = 100
_KINDS = (
    "prompt",
    "completion",
    "cached",
    "cache_write",
    "reasoning",
    "audio_in",
    "audio_out",
    "image_in",
    "image_out",
)
_TIMEOUTS = frozenset(
    {"upstream_connect_timeout", "upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_total_timeout"}
)


class SetAside(Protocol):
    """What was reserved for an attempt: nano-dollars, and the ids of the budgets' periods that pay, as an array; is one
    of them hard?"""

    amount: int
    periods: str
    hard: bool


@dataclass(slots=True)
class _Scope:
    """All that is the same for every attempt of one key at one target, worked out once."""

    text: str
    price: Price | None
    prompt: Counter
    completion: Counter
    cost: Counter
    labels: tuple[str, str]


# One attempt's account, and the price it is settled at. A plain tuple: one is made for every attempt.
MeterPermit = tuple[_Scope, Entry, Price | None]


class Meter(Stage):
    """Writes down every attempt and its cost. It is the `Admission` that dispatch asks."""

    name: ClassVar[str] = "meter"

    def __init__(self, ledger: Ledger, prices: Prices, metrics: Metrics) -> None:
        self._ledger = ledger
        self.prices = prices
        self.metrics = metrics
        self._row_ids = RowIds()
        self.reporting = Reporting(max_tags=0, max_users=0)
        self._scopes: dict[tuple[str | None, str, Target, str], _Scope] = {}

    def use(self, prices: Prices, row_ids: RowIds) -> None:
        """Meter by `prices` and name `row_ids` from now on; attempts under way settle by what they began with."""
        self.prices = prices
        self._row_ids = row_ids
        self._scopes.clear()

    def reserve(self, job: Call, target: Target) -> None:
        """Nothing is set aside."""

    def forgo(self, reservation: None) -> None:
        """Nothing was."""

    def price(self, job: Call, target: Target) -> Price | None:
        """What the job costs at this target; None where nobody knows."""
        return self._priced(job, target)[1]

    def _priced(self, job: Call, target: Target) -> tuple[_Scope, Price | None]:
        key = job.key
        assert key is not None
        scope = self._scopes.get((key.id, job.asked_model, target, job.endpoint.name)) or self._new_scope(job, target)
        price = scope.price
        if price is not None and "service_tier" in job.document:
            price = price.for_service(job.document["service_tier"])
        return scope, price

    def admit(self, job: Call, target: Target, attempt: int, reservation: SetAside | None = None) -> MeterPermit:
        """Open the account of an attempt that is about to be sent. Raises journal_unavailable, and invalid_field for
        tags or a user that cannot be reported."""
        scope, price = self._priced(job, target)
        prompt = len(job.body) // BYTES_PER_TOKEN
        entry = Entry(
            job.request_id,
            attempt,
            job.started_us if attempt == 1 else time.time_ns() // 1000,
            scope.text,
            job.stream,
            prompt,
            0 if price is None else price.prompt_cost_nano_usd(prompt, _search_units(job) if price.search_unit else 0),
        )
        assert job.key is not None
        entry.end_user, entry.tags = self.reporting.of(job.headers, job.document, job.key)
        if reservation is not None:
            entry.budgets = reservation.periods
            entry.indispensable = reservation.hard
            entry.cost_nano_usd = max(entry.cost_nano_usd, reservation.amount)
        self._ledger.start(entry)
        return scope, entry, price

    def close(self, job: Call, permit: MeterPermit, outcome: AttemptOutcome, kept: int = -1) -> None:
        """Write the attempt's end and its cost, and count its tokens. Where nobody said all that it used, `kept` is its
        cost in nano-dollars at least; -1: to be estimated."""
        scope, entry, price = permit
        usage = outcome.usage
        if usage is None:
            usage = outcome.estimate()
            if usage.estimated and price is not None and price.search_unit:
                usage.search_units = _search_units(job)
        elif outcome.streamed and outcome.code != "ok" and outcome.streamed_tokens > usage.completion:
            # What is reported at a stream's beginning counts little of the answer.
            usage = replace(usage, completion=outcome.streamed_tokens, estimated=True)
        entry.usage = usage
        entry.final = outcome.final
        entry.status = outcome.status
        if outcome.code != "ok":
            entry.outcome = _ledger_outcome(outcome.code)
            entry.error_code = outcome.code
        cost = price.cost_nano_usd(usage) if price is not None else 0
        if kept >= 0:
            cost = kept if outcome.usage is None else max(cost, kept)
            usage.estimated = True
        entry.cost_nano_usd = cost
        entry.duration_ms = int(outcome.duration_s * 1000)
        if outcome.first_byte_s >= 0:
            entry.first_byte_ms = int(outcome.first_byte_s * 1000)
        job.cost_nano_usd = max(job.cost_nano_usd, 0) + cost
        self._ledger.end(entry)
        job.entry = entry
        self._count(scope, usage, cost)

    def _count(self, scope: _Scope, usage: Usage, cost: int) -> None:
        scope.prompt.inc(usage.prompt)
        scope.completion.inc(usage.completion)
        scope.cost.inc(cost)
        if usage.cached or usage.reasoning or usage.cache_write or usage.audio_in or usage.audio_out or usage.image_in:
            for kind in _KINDS[2:]:
                count = getattr(usage, kind)
                if count:
                    self.metrics.tokens.child(*scope.labels, kind).inc(count)
        if usage.estimated:
            self.metrics.usage_estimated.child(*scope.labels).inc()
        if scope.price is None:
            self.metrics.unpriced_attempts.child(*scope.labels).inc()

    def _new_scope(self, call: Call, target: Target) -> _Scope:
        key = call.key
        assert key is not None
        name = call.fallback_at(target) or call.asked_model
        labels = (name, target.provider)
        tokens = self.metrics.tokens
        scope = _Scope(
            text=render_scope(
                key_id=key.id,
                team_id=key.team_id,
                user_id=key.user_id,
                provider_id=self._row_ids.providers.get(target.provider),
                model_id=self._row_ids.models.get(name),
                provider_name=target.provider,
                model_name=name,
                target_model=target.model,
                endpoint=call.endpoint.name,
            ),
            price=self.prices.find(target.account.type, target.model, (target.serves, target.name)),
            prompt=tokens.child(*labels, "prompt"),
            completion=tokens.child(*labels, "completion"),
            cost=self.metrics.cost_usd.child(*labels),
            labels=labels,
        )
        if len(self._scopes) >= _MAX_SCOPES:
            self._scopes.clear()
        self._scopes[(key.id, call.asked_model, target, call.endpoint.name)] = scope
        return scope


class NoMeter:
    """The admission while metering is switched off."""

    def reserve(self, job: Call, target: Target) -> None:
        """Nothing is set aside."""

    def forgo(self, reservation: None) -> None:
        """Nothing was."""

    def admit(self, job: Call, target: Target, attempt: int, reservation: None = None) -> None:
        """Allow it."""

    def close(self, job: Call, permit: None, outcome: AttemptOutcome) -> None:
        """Nothing was opened."""


def _search_units(job: Call) -> int:
    """What a rerank will be billed for at least: a query with up to a hundred documents is a search unit.

    https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-pricing.html, https://cohere.com/pricing (read 2026-11)
    """
    documents = job.document.get("documents")
    return -(-len(documents) // _DOCUMENTS_PER_SEARCH_UNIT) if isinstance(documents, list) else 0


def _ledger_outcome(code: str) -> Outcome:
    if code == "client_gone":
        return "client_gone"
    return "timeout" if code in _TIMEOUTS else "error"
