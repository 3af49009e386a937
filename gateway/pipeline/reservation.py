"""What is set aside for one attempt, and what of it stays."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.pipeline.purse import Pot
from gateway.pipeline.rules import Rules
from gateway.providers.price import Price
from gateway.services.bounds.worst_case import Bound
from gateway.services.quota.counter import Counter
from gateway.services.quota.service import Quota
from gateway.upstream.job import Outcome, Reserved
from gateway.upstream.target import Target


class Reservation(Reserved):
    """What is set aside for one attempt: `amount` nano-dollars at each hard one of `pots`, and units of the target's
    limits, its `rules`, and of those of the model that it falls back to, `of_model`: `requests` and `tokens` of rates,
    with the windows that they are of, and `held` until it ends. `periods` are the ids of the pots, as the ledger wants
    them. `clamped`: the answer's cap is what the budgets had left; `all_seen`: of a cut stream nothing costs but what
    came; `counted`: it has been tried to count the prompt's tokens."""

    __slots__ = (
        "all_seen",
        "amount",
        "bound",
        "clamped",
        "counted",
        "hard",
        "held",
        "of_model",
        "periods",
        "pots",
        "quota",
        "requests",
        "rules",
        "target",
        "tokens",
    )

    def __init__(self, quota: Quota, target: Target) -> None:
        self.quota = quota
        self.target = target
        self.pots: Sequence[Pot] = ()
        self.periods = ""
        self.hard = self.clamped = self.all_seen = self.counted = False
        self.amount = 0
        self.bound: Bound | None = None
        self.rules: Rules | None = None
        self.of_model: Rules | None = None
        self.held: Sequence[Counter] = ()
        self.requests: list[tuple[Counter, int]] = []
        self.tokens: list[tuple[Counter, int, int]] = []

    def took(self, tokens: Sequence[tuple[Counter, int]]) -> None:
        """Everything was taken, so many `tokens` of its rates among it."""
        for rules in self.all_rules:
            self.held = (*self.held, *rules.held)
            self.requests += [(rate, rate.window) for rate in rules.rates]
        self.tokens = [(counter, amount, counter.window) for counter, amount in tokens]

    @property
    def all_rules(self) -> list[Rules]:
        """All limits that it has units of."""
        return [rules for rules in (self.rules, self.of_model) if rules is not None]

    def forgo(self) -> None:
        """The attempt is not made after all, and counts as no request either."""
        for counter, window in self.requests:
            self.quota.give_back(counter, 1, window)
        self.close(0, 0)

    def fail(self, outcome: Outcome) -> None:
        """The attempt has failed, and its account is closed when it is known what follows. What it cannot use any more
        is free now: another attempt may need it."""
        for counter in self.held:
            self.quota.give_back(counter, 1)
        self.held = ()
        if not outcome.sent or not outcome.billable:
            self.close(0, 0)
            self.amount = 0
            self.tokens = []

    def close(self, cost: int, tokens: int) -> int:
        """The attempt cost `cost` nano-dollars and used `tokens`; how much that is beyond what was set aside."""
        beyond = max(0, cost - self.amount) if self.hard else 0
        if self.hard:
            for pot in self.pots:
                if pot.counter is None:
                    continue
                if cost < self.amount:
                    self.quota.give_back(pot.counter, self.amount - cost)
                elif beyond:
                    self.quota.charge(pot.counter, beyond)
        for counter in self.held:
            self.quota.give_back(counter, 1)
        for counter, reserved, window in self.tokens:
            if tokens < reserved:
                self.quota.give_back(counter, reserved - tokens, window)
            elif tokens > reserved:
                self.quota.charge(counter, tokens - reserved)
        return beyond


def kept_nano_usd(reservation: Reservation, outcome: Outcome, price: Price | None) -> int:
    """What an attempt is taken to have cost at least of which it is not known; -1 where it is.

    All that was set aside: where it was sent and no usage came, or none that says what it cost; and where a stream was
    cut, for what was reported by then need not be all. Of a cut stream at a provider that stops then and bills what it
    had made, it is what went through, a token for each byte.
    """
    if not reservation.hard or not outcome.sent or not outcome.billable:
        return -1
    usage, bound = outcome.usage, reservation.bound
    cut = outcome.streamed and outcome.code != "ok"
    if usage is not None and not cut:
        told = bound is not None or (price is not None and (usage.prompt or usage.completion or usage.search_units))
        return -1 if told else reservation.amount
    if bound is not None and reservation.all_seen and outcome.code == "client_gone" and outcome.streamed:
        return min(reservation.amount, bound.nano_usd_at(outcome.most_streamed_tokens))
    return reservation.amount
