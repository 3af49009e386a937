"""May this caller use so many tokens, and this model now?"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from gateway.pipeline.call import Call
from gateway.pipeline.expected import expected_tokens
from gateway.pipeline.governed import Governed
from gateway.pipeline.rules import RuleBook, Rules
from gateway.pipeline.stage import Stage, Turn
from gateway.pipeline.stages.admit import take_request
from gateway.services.quota.counter import Counter

Counters = tuple[Counter, ...]


class LimitRate(Stage):
    """Keep to the limits of tokens, and to those of the model: its own, and what a team or key has for it alone.

    Tokens are reserved before the request is sent: the prompt by its size and the output's cap, or what few of the
    model's answers go beyond. What was not used goes back at the end, what was used beyond it counts then.
    """

    name: ClassVar[str] = "limit_rate"

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    def on_request(self, call: Call) -> Turn:
        key, book = call.key, self._book
        assert key is not None
        of_model, of_caller = book.of_model(key, call.model), book.of_caller(key)
        waiting = None if of_model is None else take_request(book, call, of_model)
        if (of_model is None or not of_model.tokens) and (of_caller is None or not of_caller.tokens):
            return waiting
        given = [rules for rules in (of_caller, of_model) if rules is not None]
        alone = () if of_model is None else of_model.tokens
        return self._reserve(call, given, alone) if waiting is None else self._wait(waiting, call, given, alone)

    async def _wait(self, waiting: Awaitable[None], call: Call, rules: list[Rules], of_model: Counters) -> None:
        await waiting
        asked = self._reserve(call, rules, of_model)
        if asked is not None:
            await asked

    def _reserve(self, call: Call, rules: list[Rules], of_model: Counters) -> Awaitable[None] | None:
        tokens = expected_tokens(call, self._book.usual)
        amounts: list[tuple[Counter, int]] = [
            (counter, min(tokens, counter.limit) if counter.limit else tokens)
            for each in rules
            for counter in each.tokens
        ]
        governed = call.governed
        if governed is None:
            governed = call.governed = Governed(self._book.quota)
        for each in rules:
            if each not in governed.rules:
                governed.rules.append(each)
        if not self._book.quota.take(amounts):
            return self._ask(call, governed, rules, amounts, of_model)
        governed.took_tokens(amounts, self._book.usual, call.model, of_model)
        return None

    async def _ask(
        self,
        call: Call,
        governed: Governed,
        rules: list[Rules],
        amounts: list[tuple[Counter, int]],
        of_model: Counters,
    ) -> None:
        refusal = await self._book.quota.acquire(amounts)
        if refusal is not None:
            raise self._book.refused(refusal, rules)
        governed.took_tokens(amounts, self._book.usual, call.model, of_model)
