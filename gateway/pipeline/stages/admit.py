"""May this caller ask anything now?"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from gateway.pipeline.call import Call
from gateway.pipeline.governed import Governed
from gateway.pipeline.rules import RuleBook, Rules
from gateway.pipeline.stage import Stage, Turn


class Admit(Stage):
    """Keep to the limits of requests, and of requests at once, of whoever asks: the cheapest refusal comes first.

    A request counts when it is admitted, whatever becomes of it.
    """

    name: ClassVar[str] = "admit"

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    def on_request(self, call: Call) -> Turn:
        assert call.key is not None
        rules = self._book.of_caller(call.key)
        return None if rules is None else take_request(self._book, call, rules)


def take_request(book: RuleBook, call: Call, rules: Rules) -> Awaitable[None] | None:
    """Count one request at each of `rules`; what is returned is to be waited for.

    Raises rate_limit_exceeded and the like, and then nothing is counted.
    """
    governed = call.governed
    if governed is None:
        governed = call.governed = Governed(book.quota)
    if rules.requests and not book.quota.take(rules.requests):
        return _ask_for_request(book, governed, rules)
    governed.took(rules)
    return None


async def _ask_for_request(book: RuleBook, governed: Governed, rules: Rules) -> None:
    refusal = await book.quota.acquire(rules.requests)
    if refusal is not None:
        governed.rules.append(rules)
        raise book.refused(refusal, (rules,))
    governed.took(rules)
