"""What the limits have given one request, and what has to go back when it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

from gateway.pipeline.expected import UsualOutput
from gateway.pipeline.rules import Rules, tightest
from gateway.services.quota.counter import Counter
from gateway.services.quota.service import Quota
from gateway.upstream.job import Headers, Outcome

_OF_REQUESTS: Final = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
_OF_TOKENS: Final = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")


class Governed:
    """Made for a request to which limits or budgets apply.

    `held` are units that go back at the end; `tokens` what was reserved of each rate, with its window; `usual` wants to
    hear how long the answers of `model` were. Of what is used at fallbacks to other models the counters `of_model` have
    nothing. `clamped` is the output cap that a budget left, 0 for none.
    """

    __slots__ = ("clamped", "held", "model", "of_model", "quota", "rules", "tokens", "usual")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.rules: list[Rules] = []
        self.held: list[Counter] = []
        self.tokens: list[tuple[Counter, int, int]] = []
        self.usual: UsualOutput | None = None
        self.model = ""
        self.of_model: Collection[Counter] = ()
        self.clamped = 0

    def took(self, rules: Rules) -> None:
        """One request was taken of each of these limits."""
        self.rules.append(rules)
        self.held += rules.held

    def took_tokens(
        self, amounts: list[tuple[Counter, int]], usual: UsualOutput, model: str, of_model: Collection[Counter] = ()
    ) -> None:
        """So many tokens were reserved, by what is usual for `model` where its answer has no cap. `of_model` are those
        of the counters that are for it alone."""
        self.tokens += [(counter, amount, counter.window) for counter, amount in amounts]
        self.usual, self.model, self.of_model = usual, model, of_model

    def end(self, outcomes: list[Outcome]) -> None:
        """The request is over: what it held is free, tokens that it did not use go back, those beyond count now."""
        for counter in self.held:
            self.quota.give_back(counter, 1)
        self.held.clear()
        if self.usual is not None:
            for outcome in outcomes:
                if outcome.usage is not None and outcome.usage.completion:
                    self.usual.note(outcome.target.serves or self.model, outcome.usage.completion)
            self.usual = None
        if self.tokens:
            by_all = elsewhere = 0
            for outcome in outcomes:
                tokens = _tokens_of(outcome)
                by_all += tokens
                if outcome.target.serves not in ("", self.model):
                    elsewhere += tokens
            for counter, reserved, window in self.tokens:
                used = by_all - elsewhere if counter in self.of_model else by_all
                if used < reserved:
                    self.quota.give_back(counter, reserved - used, window)
                elif used > reserved:
                    self.quota.charge(counter, used - reserved)
            self.tokens.clear()

    def add_headers(self, headers: Headers) -> None:
        """OpenAI's `x-ratelimit-*`: https://platform.openai.com/docs/guides/rate-limits (read 2026-11)."""
        rules = self.rules
        if len(rules) == 1:
            self._show(headers, _OF_REQUESTS, rules[0].rates)
            self._show(headers, _OF_TOKENS, rules[0].tokens)
        elif rules:
            self._show(headers, _OF_REQUESTS, [counter for each in rules for counter in each.rates])
            self._show(headers, _OF_TOKENS, [counter for each in rules for counter in each.tokens])
        if self.clamped:
            headers.append((b"x-gateway-max-tokens-clamped", b"%d" % self.clamped))

    def _show(self, headers: Headers, names: tuple[bytes, bytes, bytes], rates: Sequence[Counter]) -> None:
        shown = tightest(self.quota, rates)
        if shown is not None:
            limit, remaining, reset_s = shown
            headers.append((names[0], b"%d" % limit))
            headers.append((names[1], b"%d" % remaining))
            headers.append((names[2], duration(reset_s)))


def _tokens_of(outcome: Outcome) -> int:
    """What an attempt used, as reported or else as far as it can be told."""
    usage = outcome.usage or outcome.estimate()
    return usage.prompt + usage.completion


def duration(seconds: float) -> bytes:
    """A time as OpenAI's headers have it: `12ms`, `1s`, `6m0s`, `2h3m4s`."""
    return b"%dms" % (seconds * 1000) if seconds < 1 else _whole_seconds(int(seconds + 0.999))


@lru_cache(maxsize=4096)
def _whole_seconds(seconds: int) -> bytes:
    """The same of whole ones; those of a minute come again and again."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
