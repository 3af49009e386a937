"""What metering a batch needs of the rest: its provider's answers, prices, and the ledger."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.governor import Overruns
from gateway.pipeline.stages.meter import Meter, NoMeter
from gateway.providers.price import Price
from gateway.server.openai.fetching import read_object, says_gone
from gateway.server.openai.objects import checked_id
from gateway.server.openai.providers import Providers
from gateway.services.batches.service import Batch, Creation
from gateway.services.catalogue.row_ids import RowIds
from gateway.services.ledger.entry import Entry, render_scope
from gateway.services.ledger.service import Ledger
from gateway.upstream.relay import Relay
from gateway.upstream.relayed import Exchange, Outgoing
from gateway.upstream.target import Account
from gateway.wire.dialect import Document
from gateway.wire.openai_batches import Share
from gateway.wire.openai_operations import BATCHES
from gateway.wire.usage import COUNTS, Usage

_log = logging.getLogger("gateway.batches")

Result = TypeVar("Result")

_ANSWER_S = 60.0
_TRANSFER_S = 3600.0
_SERVICE = "batch"
_TOKEN_KINDS = tuple(name for name in COUNTS if name != "search_units")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BatchSource:
    """Asks the providers, without metering: a `Source` of `gateway.services.batches`."""

    def __init__(self, providers: Providers, relay: Relay, max_answer_bytes: Callable[[], int]) -> None:
        self._providers = providers
        self._relay = relay
        self._max_answer_bytes = max_answer_bytes

    async def batch(self, provider: str, batch_id: str) -> Document | None:
        """The batch object; None where the provider has no such batch. Raises GatewayError."""
        read = partial(read_object, max_bytes=self._max_answer_bytes())
        answer = await self._ask(provider, f"/batches/{checked_id(batch_id)}", _ANSWER_S, read)
        return None if answer is None else answer[1]

    async def output(
        self, provider: str, file_id: str, read: Callable[[AsyncIterator[bytes]], Awaitable[Result]]
    ) -> Result | None:
        """What `read` makes of a file's content, at each try anew; None where it is gone. Raises GatewayError."""

        async def consume(exchange: Exchange) -> Result:
            result = await read(_pieces(exchange))
            exchange.settle(None)
            return result

        return await self._ask(provider, f"/files/{checked_id(file_id)}/content", _TRANSFER_S, consume)

    async def _ask(
        self, provider: str, path: str, patience_s: float, consume: Callable[[Exchange], Awaitable[Result]]
    ) -> Result | None:
        call = Call(BATCHES, {}, b"", "")
        call.targets = [self._providers.named(provider)]
        try:
            return await self._relay.run(call, Outgoing("GET", path, None, NoMeter(), patience_s=patience_s), consume)
        except GatewayError as error:
            if says_gone(error):
                return None
            raise


async def _pieces(exchange: Exchange) -> AsyncIterator[bytes]:
    while data := await exchange.answer.read():
        yield data


class Names(Protocol):
    """What is configured, by name."""

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The providers."""

    def row_ids(self) -> RowIds:
        """The rows that stand for providers and models."""


def creation_of(entry: Entry) -> Creation:
    """What there is to know of the attempt that made a batch, once its row is written."""
    ids = entry.budgets.strip("{}")
    return Creation(
        entry.request_id,
        entry.attempt,
        entry.started_us,
        entry.scope,
        entry.cost_nano_usd,
        [int(period_id) for period_id in ids.split(",")] if ids else [],
        entry.end_user,
        entry.tags,
    )


class BatchBook:
    """Prices batches and writes them to the ledger and the metrics: a `Book` of `gateway.services.batches`.

    The periods that were charged for a batch's creation are charged what it used, whichever are in force by then: there
    the money was kept for it. Their counters hear of that (`tell`) before what was kept is given back, so that at no
    moment less than the truth is charged. All can be done again after a death at any point. What is in force, the
    `meter`'s prices too, is asked for anew each time.
    """

    def __init__(
        self,
        ledger: Ledger,
        meter: Meter,
        metrics: Metrics,
        names: Names,
        tell: Callable[[Sequence[int]], Awaitable[None]],
        overruns: Overruns,
    ) -> None:
        """`tell(period_ids)` has the counters of budgets' periods hear what the ledger has. Raises GatewayError."""
        self._ledger = ledger
        self._meter = meter
        self._metrics = metrics
        self._names = names
        self._tell = tell
        self._overruns = overruns

    def tier(self, provider: str, model: str, prompt_tokens: int) -> int:
        """The tokens above which the price tier of a prompt begins, 0 for the plain price. Raises no_provider."""
        price = self._price(provider, model)
        tiers = () if price is None else price.tiers
        return next((above for above, _ in tiers if prompt_tokens > above), 0)

    async def write(self, batch: Batch, used: Sequence[Share], at: datetime) -> None:
        """A row for each share, the first of them final. Raises no_provider, store_unavailable."""
        creation = batch.creation
        costs = [self._cost_nano_usd(batch.provider, share) for share in used]
        started_us = (at - _EPOCH) // timedelta(microseconds=1)
        entries = [
            self._entry(batch, number, started_us, share, cost or 0)
            for number, (share, cost) in enumerate(zip(used, costs, strict=True), 1)
        ]
        await self._ledger.record(entries)
        if creation is not None and creation.period_ids:
            await self._tell(creation.period_ids)
            known = all(_is_known(share.usage, cost) for share, cost in zip(used, costs, strict=True))
            await self._release(batch, creation, sum(cost or 0 for cost in costs), is_known=known)
        for share, cost in zip(used, costs, strict=True):
            self._count(share.model, batch.provider, share.usage, cost)

    def _entry(self, batch: Batch, number: int, started_us: int, share: Share, cost: int) -> Entry:
        scope = self._scope(batch, share.model)
        entry = Entry(batch.request_id, number, started_us, scope, cost_nano_usd=cost)
        entry.usage = share.usage
        entry.status = 200
        entry.final = number == 1
        if batch.creation is not None:
            _let_pay(entry, batch.creation)
        return entry

    async def _release(self, batch: Batch, creation: Creation, cost: int, *, is_known: bool) -> None:
        """Give back what the creation was charged; of a batch whose cost is not known, only what is charged by now."""
        kept = creation.cost_nano_usd
        released = kept if is_known else min(kept, cost)
        if released:
            # The row that was charged, once more: so its hour, its day and its tags are rid of it, too.
            entry = Entry(
                creation.request_id, -creation.attempt, creation.started_us, creation.scope, cost_nano_usd=-released
            )
            entry.status = 200
            entry.final = False
            _let_pay(entry, creation)
            await self._ledger.record([entry])
        if kept and cost > kept:
            self._metrics.reservation_exceeded.child().inc()
            for period_id in creation.period_ids:
                self._overruns.exceeded(period_id, reserved_nano_usd=kept, billed_nano_usd=cost)
            _log.error(
                "the batch %s at %s cost %d nano-dollars more than was kept for it",
                batch.batch_id,
                batch.provider,
                cost - kept,
            )

    def _price(self, provider: str, model: str) -> Price | None:
        account = self._names.accounts.get(provider)
        if account is None:
            raise GatewayError("no_provider", f"The provider '{provider}' is not configured (any more).")
        found = self._meter.prices.find(account.type, model, ("", f"{provider}/{model}"))
        return None if found is None else found.for_service(_SERVICE)

    def _cost_nano_usd(self, provider: str, share: Share) -> int | None:
        """None where nobody knows the price."""
        price = self._price(provider, share.model)
        if price is None:
            return None
        plain = replace(price, tiers=())
        return next((tier for above, tier in price.tiers if above == share.tier), plain).cost_nano_usd(share.usage)

    def _count(self, model: str, provider: str, usage: Usage, cost: int | None) -> None:
        metrics, labels = self._metrics, (model, provider)
        for kind in _TOKEN_KINDS:
            if count := getattr(usage, kind):
                metrics.tokens.child(*labels, kind).inc(count)
        metrics.cost_usd.child(*labels).inc(cost or 0)
        if usage.estimated:
            metrics.usage_estimated.child(*labels).inc()
        if cost is None:
            metrics.unpriced_attempts.child(*labels).inc()

    def _scope(self, batch: Batch, model: str) -> str:
        row_ids = self._names.row_ids()
        return render_scope(
            key_id=batch.key_id,
            team_id=batch.team_id,
            user_id=batch.user_id,
            provider_id=row_ids.providers.get(batch.provider),
            model_id=row_ids.models.get(model),
            provider_name=batch.provider,
            model_name=model,
            target_model=model,
            endpoint=BATCHES.name,
        )


def _is_known(usage: Usage, cost: int | None) -> bool:
    """Is it certain what a share cost?"""
    return not usage.estimated and (cost is not None or usage == Usage())


def _let_pay(entry: Entry, creation: Creation) -> None:
    """Whoever pays for the creation pays for this, and it is reported as that was."""
    if creation.period_ids:
        entry.budgets = "{" + ",".join(map(str, creation.period_ids)) + "}"
    entry.end_user, entry.tags = creation.end_user, tuple(creation.tags)
