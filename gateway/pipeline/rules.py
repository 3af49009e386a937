"""Which counters a request has to get past: limits, turned into counters of the quota service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

from gateway.errors import GatewayError
from gateway.pipeline.expected import UsualOutput
from gateway.services.keys.key import Key
from gateway.services.limits.limit import Limit
from gateway.services.limits.service import Limits
from gateway.services.quota.ask import Refusal
from gateway.services.quota.counter import HELD, RATE, Counter, Kind
from gateway.services.quota.service import Quota
from gateway.upstream.target import Target

_REQUESTS: Final[tuple[tuple[str, int, str], ...]] = (
    ("requests_per_minute", 60, "requests per minute"),
    ("requests_per_hour", 3600, "requests per hour"),
    ("requests_per_day", 86_400, "requests per day"),
)
_TOKENS: Final[tuple[tuple[str, int, str], ...]] = (
    ("tokens_per_minute", 60, "tokens per minute"),
    ("tokens_per_hour", 3600, "tokens per hour"),
    ("tokens_per_day", 86_400, "tokens per day"),
)
_WHOSE: Final = {
    "global": "the gateway",
    "organisation": "the organisation",
    "team": "the team",
    "user": "the user",
    "key": "this API key",
}
_MOST_REMEMBERED: Final = 50_000
_LONG_WAIT_S: Final = 60.0


class Rules:
    """The counters of some limits: `requests` are taken one by one, `held` are those of them that are given back when
    the request ends, `rates` the others, `tokens` are taken by as many as it may use. `names` have each limit's scope
    and what it is."""

    __slots__ = ("held", "names", "rates", "requests", "tokens")

    def __init__(self, quota: Quota, limits: Iterable[Limit]) -> None:
        self.names: dict[Counter, tuple[str, str]] = {}
        requests: list[Counter] = []
        tokens: list[Counter] = []
        for limit in limits:
            for field, window_s, what in _REQUESTS:
                self._add(quota, limit, field, RATE, window_s, what, requests)
            self._add(quota, limit, "max_concurrency", HELD, 0, "requests at once", requests)
            for field, window_s, what in _TOKENS:
                self._add(quota, limit, field, RATE, window_s, what, tokens)
        self.requests = tuple((counter, 1) for counter in requests)
        self.held = tuple(counter for counter in requests if counter.kind == HELD)
        self.rates = tuple(counter for counter in requests if counter.kind == RATE)
        self.tokens = tuple(tokens)

    @property
    def ever_allow(self) -> bool:
        """Is there no limit of 0?"""
        return all(counter.limit for counter in self.names)

    def _add(
        self, quota: Quota, limit: Limit, field: str, kind: Kind, window_s: int, what: str, to: list[Counter]
    ) -> None:
        most: int | None = getattr(limit, field)
        if most is None:
            return
        counter = quota.counter(f"{limit.id}:{field}", kind, most, window_s, limit.on_store_failure)
        whose = _WHOSE.get(limit.scope) or f"the {limit.scope} '{limit.subject}'"
        if limit.model is not None:
            whose += f" for the model '{limit.model}'"
        self.names[counter] = limit.scope, f"{most:,} {what} of {whose}"
        to.append(counter)


class RuleBook:
    """The rules in force, worked out when they are first needed and kept until a limit changes.

    Each `of_…` gives None where there is no limit. What is known of a key holds for this very object: one that was
    moved to another team is read anew. `usual` is how long models' answers are, `refusals` how many requests limits
    have refused, by scope.
    """

    def __init__(self, quota: Quota, limits: Limits) -> None:
        self.quota = quota
        self.usual = UsualOutput()
        self.refusals: dict[str, int] = {}
        self._limits = limits
        self._generation = -1
        self._idle = False  # no limit is set anywhere
        self._of_caller: dict[str, tuple[Key, Rules | None]] = {}
        self._of_model: dict[tuple[str, str], tuple[Key, Rules | None]] = {}
        self._of_target: dict[str, Rules | None] = {}

    def of_caller(self, key: Key) -> Rules | None:
        """What holds for all that this key asks for. The master key has no limits."""
        if self._generation != self._limits.generation:
            self._forget()
        if self._idle:
            return None
        key_id = key.id
        if key_id is None:
            return None
        known = self._of_caller.get(key_id)
        if known is None or known[0] is not key:
            who = (key.organisation_id, key.team_id, key.user_id, key.line_id)
            self._room_in(self._of_caller)
            known = self._of_caller[key_id] = key, self._rules(self._limits.of_caller(*who))
        return known[1]

    def of_model(self, key: Key, model: str) -> Rules | None:
        """What holds beside that when this key asks for this model (its own name, no alias)."""
        if self._generation != self._limits.generation:
            self._forget()
        if self._idle:
            return None
        if key.id is None:
            return None
        place = (key.id, model)
        known = self._of_model.get(place)
        if known is None or known[0] is not key:
            self._room_in(self._of_model)
            found = self._rules(self._limits.of_model(key.team_id, key.line_id, model))
            known = self._of_model[place] = key, found
        return known[1]

    def of_target(self, target: Target) -> Rules | None:
        """What holds for whatever is sent to this target."""
        if self._generation != self._limits.generation:
            self._forget()
        if self._idle:
            return None
        known = self._of_target
        if target.name not in known:
            self._room_in(known)
            known[target.name] = self._rules(self._limits.of_target(target.provider, target.name))
        return known[target.name]

    def refused(self, refusal: Refusal, rules: Iterable[Rules]) -> GatewayError:
        """The error for a request that one of `rules` refused, which counts."""
        counter = refusal.counter
        scope, name = next(each.names[counter] for each in rules if counter in each.names)
        self.refusals[scope] = self.refusals.get(scope, 0) + 1
        if refusal.reason != "limit":
            message = f"The limit of {name} cannot be counted at the moment."
            return GatewayError("limits_unavailable", message, retry_after_s=refusal.retry_after_s)
        if counter.kind == HELD:
            message = f"Too many requests are under way: the limit is {name}."
            return GatewayError("concurrency_limit_exceeded", message, retry_after_s=refusal.retry_after_s)
        return GatewayError(
            "rate_limit_exceeded",
            f"Rate limit reached: {name}. It is counted anew in {ceil(refusal.retry_after_s)} s.",
            retry_after_s=refusal.retry_after_s,
            should_retry=False if refusal.retry_after_s > _LONG_WAIT_S else None,
        )

    def _rules(self, limits: Sequence[Limit]) -> Rules | None:
        rules = Rules(self.quota, limits) if limits else None
        return rules if rules is not None and rules.names else None

    def _forget(self) -> None:
        self._generation = self._limits.generation
        self._idle = not self._limits
        self._of_caller.clear()
        self._of_model.clear()
        self._of_target.clear()

    @staticmethod
    def _room_in(known: dict) -> None:  # type: ignore[type-arg]
        if len(known) >= _MOST_REMEMBERED:
            known.clear()


def tightest(quota: Quota, rates: Sequence[Counter]) -> tuple[int, int, float] | None:
    """Of `rates` the one that has least left, as far as this worker knows: its limit, what is left, and the seconds
    until its window ends. None where there are none."""
    if not rates:
        return None
    best = rates[0]
    least = best.remaining + best.available
    for counter in rates[1:]:
        left = counter.remaining + counter.available
        if left < least:
            best, least = counter, left
    return best.limit, max(0, min(least, best.limit)), quota.reset_in_s(best)
