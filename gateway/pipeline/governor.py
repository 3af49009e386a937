"""The admission in force where limits and budgets are kept: asked before and after every attempt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

import orjson

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.expected import expected_tokens
from gateway.pipeline.governed import Governed
from gateway.pipeline.purse import Pot, Pots, Purse, exhausted, ids_of
from gateway.pipeline.queues import Queues
from gateway.pipeline.reservation import Reservation, kept_nano_usd
from gateway.pipeline.rules import RuleBook, Rules
from gateway.pipeline.stages.meter import Meter, MeterPermit
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.fields import UNBOUNDED_ENDPOINTS
from gateway.services.bounds.output import with_cap
from gateway.services.bounds.worst_case import worst_case
from gateway.services.quota.ask import Refusal
from gateway.services.quota.counter import MONEY, Counter
from gateway.services.quota.service import Quota
from gateway.upstream.job import Outcome
from gateway.upstream.target import Target
from gateway.wire.dialect import Document

_log = logging.getLogger("gateway.governor")

_CLAMPS: Final = 4
# An answer cut shorter than this is of no use.
_LEAST_CLAMP: Final = 16
# Where this much is affordable with half of what is left, the other half is left to others.
_AMPLE: Final = 256


GovernedPermit = tuple[MeterPermit, Reservation | None]


class Overruns(Protocol):
    """Is told of every budget's period of which an attempt was billed more than it had set aside. Never waits."""

    def exceeded(self, period_id: int, *, reserved_nano_usd: int, billed_nano_usd: int) -> None:
        """It was reserved so much, and billed so much."""


class Governor:
    """An `Admission`: the meter's, with money set aside and the target's limits kept before anything is sent.

    `book` None: no limits are kept; `purse` None: no budgets. `queues` are where requests wait for a target's limits.
    """

    def __init__(
        self,
        meter: Meter,
        quota: Quota,
        book: RuleBook | None,
        purse: Purse | None,
        queues: Queues,
        overruns: Overruns,
    ) -> None:
        self._meter = meter
        self._quota = quota
        self._queues = queues
        self._book = book
        self._purse = purse
        self._overruns = overruns

    async def reserve(self, job: Call, target: Target) -> Reservation | None:
        """Set aside what this attempt may cost at most; for it alone the request's output cap may shrink.

        Raises GatewayError: budget_exceeded, budget_unbounded, budget_unpriced, budget_rebuilding, target_limited.
        """
        if job.reserved is not None:
            job.reserved.fail(job.outcomes[-1])
            self._queues.ready(job.reserved.target)
        if job.uncapped is not None:  # an attempt at another price has left its cap
            _uncap(job)
        fallback, purse, pots = job.fallback_at(target), self._purse, job.pots
        rules, of_model = self._rules(job, target, fallback)
        if purse is not None and (fallback or purse.pays_for(target)):
            pots = await self._pots(purse, job, target, fallback)
        if rules is None and of_model is None and not pots:
            return None
        reservation = Reservation(self._quota, target)
        reservation.pots = pots
        reservation.periods = ids_of(pots)
        reservation.rules, reservation.of_model = rules, of_model
        hard = [pot for pot in pots if pot.counter is not None]
        if hard:
            reservation.hard = True
            self._bound(job, target, reservation, hard)
        tries = _CLAMPS
        while (refusal := await self._take_turn(job, target, reservation, hard)) is not None:
            tries -= 1
            if refusal.reason != "limit" or not tries or not self._clamp(job, target, reservation, hard):
                raise exhausted(refusal, hard)
        if reservation.clamped:
            try:
                self._tell_of_clamp(job, reservation)
            except BaseException:
                self.forgo(reservation)
                raise
        return reservation

    def _rules(self, job: Call, target: Target, fallback: str) -> tuple[Rules | None, Rules | None]:
        """The target's limits, and those of the model `fallback`; of the one asked for all has been taken already."""
        book, key = self._book, job.key
        if book is None:
            return None, None
        return book.of_target(target), book.of_model(key, fallback) if fallback and key is not None else None

    @staticmethod
    async def _pots(purse: Purse, job: Call, target: Target, fallback: str) -> Pots:
        """What an attempt is paid from: a fallback as if its model had been asked for."""
        pots = job.pots
        if fallback and job.key is not None:
            pots = await purse.of_request(job.key, fallback, job.document)
        return (*pots, *await purse.of_target(target)) if purse.pays_for(target) else pots

    async def _take_turn(
        self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]
    ) -> Refusal | None:
        """Take everything, behind those who wait for the target's limits already; what a budget refuses is returned.

        For its last target a job stands in line. Raises target_limited where another target is left to be tried, the
        time is up, the line is full, or the model that is fallen back to has its limits used up.
        """
        key, rules = job.key, reservation.rules
        assert key is not None
        refusal: Refusal | None = None
        lines_up = rules is not None and _is_last(job, target) and rules.ever_allow
        if not (lines_up and self._queues.waiting(target)):
            refusal = await self._acquire(job, reservation, hard)
            if refusal is None or refusal.counter.kind == MONEY:
                return refusal
            lines_up = lines_up and refusal.reason == "limit" and rules is not None and refusal.counter in rules.names

        async def try_take() -> bool:
            nonlocal refusal
            refusal = await self._acquire(job, reservation, hard)
            return refusal is None or rules is None or refusal.counter not in rules.names

        if lines_up and rules is not None:
            cost = self._tokens(job, reservation) if rules.tokens else 1
            taken = await self._queues.take(key, target, cost, try_take) == "taken"
            if taken and (refusal is None or refusal.counter.kind == MONEY):
                return refusal
        raise self._busy(refusal, target, reservation)

    async def _acquire(self, job: Call, reservation: Reservation, hard: Sequence[Pot]) -> Refusal | None:
        amounts: list[tuple[Counter, int]] = []
        tokens: list[tuple[Counter, int]] = []
        for rules in reservation.all_rules:
            amounts += rules.requests
            if rules.tokens:
                expected = self._tokens(job, reservation)
                tokens += [(counter, min(expected, max(counter.limit, 1))) for counter in rules.tokens]
        amounts += tokens
        for pot in hard:
            assert pot.counter is not None
            amounts.append((pot.counter, reservation.amount))
        refusal = await self._quota.acquire(amounts)
        if refusal is None:
            reservation.held = [counter for rules in reservation.all_rules for counter in rules.held]
            reservation.tokens = [(counter, amount, counter.window) for counter, amount in tokens]
        return refusal

    def _tokens(self, job: Call, reservation: Reservation) -> int:
        """What an attempt is taken to use of a target's tokens; of a request in copies it is one of them."""
        assert self._book is not None
        return expected_tokens(job, self._book.usual, job.fallback_at(reservation.target))

    # --- money --------------------------------------------------------------------------------------

    def _bound(self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]) -> None:
        """Work out the worst case, and have the provider told of the cap that was counted on."""
        price = self._meter.price(job, target)
        unbounded = UNBOUNDED_ENDPOINTS.get(job.endpoint.name, "")
        if price is None and not unbounded:
            raise GatewayError(
                "budget_unpriced",
                f"The price of '{target.name}' is not known, so it cannot be used under the budget "
                f"'{hard[0].budget.name}'.",
            )
        if price is not None:
            document, size, endpoint = _as_bounded(job)
            billing = PROVIDERS[target.account.type].billing
            bound = worst_case(document, size, endpoint, price, billing, target.model)
            unbounded = bound.unbounded
            if not unbounded:
                if bound.answers and not bound.cap_field:
                    _write_cap(job, target, bound.cap)
                reservation.bound = bound
                reservation.amount = bound.nano_usd
                reservation.all_seen = billing.shows_all(target.model) and "thinking" not in document
                return
        reservation.amount = _unbounded_amount(unbounded, hard)

    def _clamp(self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]) -> bool:
        """Cut the output to what the budgets have left; False where they have not enough, or say to refuse."""
        bound = reservation.bound
        if bound is None or not bound.answers or any(pot.budget.on_too_dear != "clamp" for pot in hard):
            return False
        left = min(pot.left_nano_usd for pot in hard)
        cap = bound.affordable_cap(left // 2)
        if cap is None or cap < _AMPLE:
            cap = bound.affordable_cap(left)
        if cap is None or cap < min(_LEAST_CLAMP, bound.cap) or cap >= bound.cap:
            return False
        _write_cap(job, target, cap)
        bound.cap = cap
        reservation.amount = bound.nano_usd
        reservation.clamped = True
        return True

    def _tell_of_clamp(self, job: Call, reservation: Reservation) -> None:
        assert reservation.bound is not None
        self._meter.metrics.budget_clamped.child().inc()
        if job.governed is None:
            job.governed = Governed(self._quota)
        job.governed.clamped = reservation.bound.cap

    def _busy(self, refusal: Refusal | None, target: Target, reservation: Reservation) -> GatewayError:
        if refusal is None:
            message = f"Too many requests wait for '{target.name}' already."
            return GatewayError("target_limited", message, retry_after_s=1.0)
        assert self._book is not None
        error = self._book.refused(refusal, reservation.all_rules)
        return GatewayError("target_limited", error.message, retry_after_s=refusal.retry_after_s)

    # --- the attempt ----------------------------------------------------------------------------------

    def forgo(self, reservation: Reservation) -> None:
        """The attempt is not made after all."""
        self._free(reservation, 0, 0)

    def _free(self, reservation: Reservation, cost: int, tokens: int) -> int:
        beyond = reservation.close(cost, tokens)
        if reservation.rules is not None:
            self._queues.ready(reservation.target)
        return beyond

    async def admit(self, job: Call, target: Target, attempt: int, reservation: Reservation | None) -> GovernedPermit:
        """Open the attempt's account. Raises journal_unavailable."""
        metered = await self._meter.admit(job, target, attempt, reservation)
        job.reserved = reservation
        return metered, reservation

    def close(self, job: Call, permit: GovernedPermit, outcome: Outcome) -> None:
        """Settle the attempt: what it cost stays, the rest is free again."""
        metered, reservation = permit
        if reservation is None:
            self._meter.close(job, metered, outcome)
            return
        if job.reserved is reservation:  # else another attempt has begun
            job.reserved = None
        self._meter.close(job, metered, outcome, kept_nano_usd(reservation, outcome, metered[2]))
        usage = metered[1].usage
        assert usage is not None
        beyond = self._free(reservation, metered[1].cost_nano_usd, usage.prompt + usage.completion)
        if beyond:
            self._tell_of_overrun(job, reservation, metered[1].cost_nano_usd)

    def _tell_of_overrun(self, job: Call, reservation: Reservation, cost: int) -> None:
        """Count it, log it, and alert whoever watches the budgets that it was set aside of."""
        self._meter.metrics.reservation_exceeded.child().inc()
        beyond, name = cost - reservation.amount, reservation.target.name
        _log.error("request %s cost %d nano-dollars more than its worst case at %s", job.request_id, beyond, name)
        for pot in reservation.pots:
            if pot.counter is not None:
                self._overruns.exceeded(pot.period.id, reserved_nano_usd=reservation.amount, billed_nano_usd=cost)


def _is_last(job: Call, target: Target) -> bool:
    """Is there no other target left that the job would go to?"""
    return target is job.targets[-1] or target not in job.targets


def _unbounded_amount(unbounded: str, hard: Sequence[Pot]) -> int:
    """What the budgets let a request cost whose worst case cannot be told because of `unbounded`."""
    caps = []
    for pot in hard:
        cap = pot.budget.unbounded_nano_usd
        if cap is None:
            raise GatewayError(
                "budget_unbounded",
                f"What this request may cost cannot be told because of '{unbounded}', so it is refused under "
                f"the budget '{pot.budget.name}'.",
                param=unbounded,
            )
        caps.append(cap)
    return max(caps)


def _as_bounded(job: Call) -> tuple[Document, int, str]:
    """What is bounded: the request, its size as JSON, and the endpoint whose form it has."""
    canonical = job.canonical_document
    if canonical is not None and job.endpoint.name == "responses":  # earlier turns were put in
        return canonical, len(orjson.dumps(canonical)), "chat"
    return job.document, len(job.body), job.endpoint.name


def _write_cap(job: Call, target: Target, cap: int) -> None:
    """Have the request ask for at most `cap` tokens an answer."""
    if job.uncapped is None:
        job.uncapped = job.body, job.document, job.canonical_document
    field = PROVIDERS[target.account.type].billing.cap_field(target.model)
    canonical = job.canonical_document
    if canonical is not None and job.endpoint.name == "responses":
        _, job.canonical_document = with_cap(b"", canonical, "chat", cap, field)
        return
    job.body, job.document = with_cap(job.body, job.document, job.endpoint.name, cap, field)
    job.canonical_document = None


def _uncap(job: Call) -> None:
    """Have the request as its caller wrote it."""
    assert job.uncapped is not None
    job.body, job.document, job.canonical_document = job.uncapped
    job.uncapped = None
    if job.governed is not None:
        job.governed.clamped = 0
