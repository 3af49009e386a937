"""The admission in force where limits and budgets are kept: asked before and after every attempt."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.capping import as_bounded, uncap, write_cap
from gateway.pipeline.expected import expected_tokens
from gateway.pipeline.governed import Governed
from gateway.pipeline.purse import Pot, Pots, Purse, exhausted, ids_of
from gateway.pipeline.queues import Queues
from gateway.pipeline.reservation import Reservation, kept_nano_usd
from gateway.pipeline.rules import RuleBook, Rules
from gateway.pipeline.stages.meter import Meter, MeterPermit
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.fields import UNBOUNDED_ENDPOINTS
from gateway.services.bounds.texts import Counted, size_of, texts_of
from gateway.services.bounds.worst_case import Bound, worst_case
from gateway.services.quota.ask import Refusal
from gateway.services.quota.counter import MONEY, Counter
from gateway.services.quota.service import Quota
from gateway.services.tokenizers.service import Tokenizers
from gateway.upstream.job import Outcome
from gateway.upstream.target import Target
from gateway.wire.duplicates import named_once

_log = logging.getLogger("gateway.governor")

_CLAMPS: Final = 4
# An answer cut shorter than this is of no use.
_LEAST_CLAMP: Final = 16
# Where this much is affordable with half of what is left, the other half is left to others.
_AMPLE: Final = 256
# Texts of which a token has more on the average are rare (indentation, some scripts), and do without being counted.
_MOST_BYTES_PER_TOKEN: Final = 12


Units = list[tuple[Counter, int]]
GovernedPermit = tuple[MeterPermit, Reservation | None]


class Overruns(Protocol):
    """Is told of every budget's period of which an attempt was billed more than it had set aside. Never waits."""

    def exceeded(self, period_id: int, *, reserved_nano_usd: int, billed_nano_usd: int) -> None:
        """It was reserved so much, and billed so much."""


class Governor:
    """An `Admission`: the meter's, with money set aside and the target's limits kept before anything is sent.

    `book` None: no limits are kept; `purse` None: no budgets. `queues` are where requests wait for a target's limits,
    `tokenizers` count prompts whose bytes are too many; None: nothing counts them.
    """

    def __init__(
        self,
        meter: Meter,
        quota: Quota,
        book: RuleBook | None,
        purse: Purse | None,
        queues: Queues,
        overruns: Overruns,
        tokenizers: Tokenizers | None = None,
    ) -> None:
        self._meter = meter
        self._quota = quota
        self._queues = queues
        self._book = book
        self._purse = purse
        self._tokenizers = tokenizers
        self._overruns = overruns

    def reserve(self, job: Call, target: Target) -> Reservation | Awaitable[Reservation | None] | None:
        """Set aside what this attempt may cost at most; for it alone the request's output cap may shrink.

        Raises GatewayError: budget_exceeded, budget_unbounded, budget_unpriced, budget_rebuilding, target_limited.
        """
        if job.reserved is not None:
            job.reserved.fail(job.outcomes[-1])
            self._queues.ready(job.reserved.target)
        if job.uncapped is not None:  # an attempt at another price has left its cap
            uncap(job)
        fallback, purse = job.fallback_at(target), self._purse
        rules, of_model = self._rules(job, target, fallback)
        others_pay = purse is not None and (bool(fallback) or purse.pays_for(target))
        if rules is None and of_model is None and not job.pots and not others_pay:
            return None
        reservation = Reservation(self._quota, target)
        reservation.rules, reservation.of_model = rules, of_model
        if purse is not None and others_pay:
            return self._reserve_of_others(purse, job, reservation, fallback)
        return self._reserve(job, reservation, job.pots)

    async def _reserve_of_others(
        self, purse: Purse, job: Call, reservation: Reservation, fallback: str
    ) -> Reservation | None:
        """The same where others pay than for the model that was asked for, or others, too."""
        pots = await self._pots(purse, job, reservation.target, fallback)
        if not pots and not reservation.all_rules:
            return None
        asked = self._reserve(job, reservation, pots)
        return asked if isinstance(asked, Reservation) else await asked

    def _reserve(self, job: Call, reservation: Reservation, pots: Pots) -> Reservation | Awaitable[Reservation]:
        """Take everything, at once where it is leased; else what is returned is to be waited for."""
        target = reservation.target
        reservation.pots = pots
        reservation.periods = ids_of(pots)
        hard = [pot for pot in pots if pot.counter is not None]
        if hard:
            reservation.hard = True
            self._bound(job, target, reservation, hard)
        stands_in_line = reservation.rules is not None and self._queues.waiting(target)
        if stands_in_line or not self._take(job, reservation, hard):
            return self._set_aside(job, target, reservation, hard)
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

    async def _set_aside(self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]) -> Reservation:
        """Take everything, for a smaller worst case where the budgets have not enough left for this one."""
        if job.waited is not None:
            job.waited = True
        tries = _CLAMPS
        while (refusal := await self._take_turn(job, target, reservation, hard)) is not None:
            if refusal.reason == "limit":
                if await self._count(job, target, reservation, hard):
                    continue
                tries -= 1
                if tries and self._clamp(job, target, reservation, hard):
                    continue
            raise exhausted(refusal, hard)
        if reservation.clamped:
            try:
                self._tell_of_clamp(job, reservation)
            except BaseException:
                self.forgo(reservation)
                raise
        return reservation

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

    def _take(self, job: Call, reservation: Reservation, hard: Sequence[Pot]) -> bool:
        """Take everything from what is leased; False, and nothing taken, where Valkey has to be asked."""
        amounts, tokens = self._amounts(job, reservation, hard)
        if not self._quota.take(amounts):
            return False
        reservation.took(tokens)
        return True

    async def _acquire(self, job: Call, reservation: Reservation, hard: Sequence[Pot]) -> Refusal | None:
        amounts, tokens = self._amounts(job, reservation, hard)
        refusal = await self._quota.acquire(amounts)
        if refusal is None:
            reservation.took(tokens)
        return refusal

    def _amounts(self, job: Call, reservation: Reservation, hard: Sequence[Pot]) -> tuple[Units, Units]:
        """What is taken in all, and what of it are tokens."""
        amounts: Units = []
        tokens: Units = []
        for rules in reservation.all_rules:
            amounts += rules.requests
            if rules.tokens:
                expected = self._tokens(job, reservation)
                tokens += [(counter, min(expected, max(counter.limit, 1))) for counter in rules.tokens]
        amounts += tokens
        for pot in hard:
            assert pot.counter is not None
            amounts.append((pot.counter, reservation.amount))
        return amounts, tokens

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
            if not job.flat:
                job.body = named_once(job.body, job.document)  # what is judged here is what the provider gets to read
            billing = PROVIDERS[target.account.type].billing
            asked = as_bounded(job)
            bound = worst_case(*asked, price, billing, target.model, flat=job.flat)
            unbounded = bound.unbounded
            if not unbounded:
                if bound.answers and not bound.cap_field:
                    write_cap(job, target, bound.cap)
                reservation.bound = bound
                reservation.amount = bound.nano_usd
                reservation.all_seen = billing.shows_all(target.model) and "thinking" not in asked[0]
                return
        reservation.amount = _unbounded_amount(unbounded, hard)

    async def _count(self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]) -> bool:
        """Put the prompt's tokens in the place of its bytes, once, where they can be counted and that may make it fit;
        False where nothing has become of it."""
        bound, tokenizers = reservation.bound, self._tokenizers
        if tokenizers is None or bound is None or reservation.counted:
            return False
        reservation.counted = True
        billing = PROVIDERS[target.account.type].billing
        encodings = billing.encodings_of(target.model, target.account.host.decode())
        asked, price = as_bounded(job), self._meter.price(job, target)
        texts = texts_of(asked[0]) if encodings else []
        if price is None or not texts:
            return False
        size = size_of(texts)
        hoped = worst_case(*asked, price, billing, target.model, Counted(size, size // _MOST_BYTES_PER_TOKEN))
        if not _helps(hoped, bound, hard):
            return False
        tokens = await tokenizers.count(encodings, texts)
        if tokens is None:
            return False
        counted = worst_case(*asked, price, billing, target.model, Counted(size, tokens))
        if counted.nano_usd >= reservation.amount:
            return False
        reservation.bound, reservation.amount = counted, counted.nano_usd
        return True

    def _clamp(self, job: Call, target: Target, reservation: Reservation, hard: Sequence[Pot]) -> bool:
        """Cut the output to what the budgets have left; False where they have not enough, or say to refuse."""
        bound = reservation.bound
        if bound is None or not _may_clamp(bound, hard):
            return False
        left = _left_nano_usd(hard)
        cap = bound.affordable_cap(left // 2)
        if cap is None or cap < _AMPLE:
            cap = bound.affordable_cap(left)
        if cap is None or cap < min(_LEAST_CLAMP, bound.cap) or cap >= bound.cap:
            return False
        write_cap(job, target, cap)
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
        reservation.forgo()
        self._wake(reservation)

    def _wake(self, reservation: Reservation) -> None:
        """Units of the target's limits are free again: whoever waits for them may try."""
        if reservation.rules is not None:
            self._queues.ready(reservation.target)

    def admit(self, job: Call, target: Target, attempt: int, reservation: Reservation | None) -> GovernedPermit:
        """Open the attempt's account. Raises journal_unavailable."""
        metered = self._meter.admit(job, target, attempt, reservation)
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
        try:
            self._meter.close(job, metered, outcome, kept_nano_usd(reservation, outcome, metered[2]))
        finally:  # whatever went wrong: without an end its row will cost what the entry says now
            usage = metered[1].usage
            tokens = 0 if usage is None else usage.prompt + usage.completion
            beyond = reservation.close(metered[1].cost_nano_usd, tokens)
            self._wake(reservation)
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


def _left_nano_usd(hard: Sequence[Pot]) -> int:
    return min(pot.left_nano_usd for pot in hard)


def _may_clamp(bound: Bound, hard: Sequence[Pot]) -> bool:
    return bound.answers > 0 and all(pot.budget.on_too_dear == "clamp" for pot in hard)


def _helps(hoped: Bound, bound: Bound, hard: Sequence[Pot]) -> bool:
    """Is what is left enough for `hoped`, or for an answer of twice the length that `bound` leaves?"""
    left = _left_nano_usd(hard)
    if hoped.nano_usd <= left:
        return True
    if not _may_clamp(bound, hard):
        return False
    cap = hoped.affordable_cap(left) or 0
    return cap >= max(2 * (bound.affordable_cap(left) or 0), min(_LEAST_CLAMP, bound.cap))


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
