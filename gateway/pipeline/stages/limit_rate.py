"""May this caller use so many tokens, and this model now?"""

from __future__ import annotations

from gateway.pipeline.call import Call
from gateway.pipeline.expected import expected_tokens
from gateway.pipeline.governed import Governed
from gateway.pipeline.rules import RuleBook, Rules
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.admit import take_request
from gateway.services.quota.counter import Counter


class LimitRate(Stage):
    """Keep to the limits of tokens, and to those of the model: its own, and what a team or key has for it alone.

    Tokens are reserved before the request is sent: the prompt by its size and the output's cap, or what few of the
    model's answers go beyond. What was not used goes back at the end, what was used beyond it counts then.
    """

    name = "limit_rate"

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    async def on_request(self, call: Call) -> None:
        key = call.key
        assert key is not None
        book = self._book
        of_model = book.of_model(key, call.model)
        if of_model is not None:
            waiting = take_request(book, call, of_model)
            if waiting is not None:
                await waiting
        of_caller = book.of_caller(key)
        if (of_model is not None and of_model.tokens) or (of_caller is not None and of_caller.tokens):
            given = [rules for rules in (of_caller, of_model) if rules is not None]
            await self._reserve(call, given, () if of_model is None else of_model.tokens)

    async def _reserve(self, call: Call, rules: list[Rules], of_model: tuple[Counter, ...]) -> None:
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
        refusal = await self._book.quota.acquire(amounts)
        if refusal is not None:
            raise self._book.refused(refusal, rules)
        governed.took_tokens(amounts, self._book.usual, call.model, of_model)
