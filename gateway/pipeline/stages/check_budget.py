"""Who pays for this request?"""

from __future__ import annotations

from collections.abc import Callable

from gateway.pipeline.call import Call
from gateway.pipeline.governed import Governed
from gateway.pipeline.purse import Purse
from gateway.pipeline.stage import Stage
from gateway.wire.dialect import Document
from gateway.wire.reporting import read_user


class CheckBudget(Stage):
    """Find the budgets that pay. The money is set aside for each attempt, at its target's price (governor.py)."""

    name = "check_budget"

    def __init__(self, purse: Purse, end_user: Callable[[Document], str] = read_user) -> None:
        """`end_user` says what to write of the one whom a request names. Raises GatewayError invalid_field."""
        self._purse = purse
        self._end_user = end_user

    async def on_request(self, call: Call) -> None:
        key, purse = call.key, self._purse
        assert key is not None
        end_user = self._end_user(call.document) if purse.asks_for_end_user(key) else ""
        call.pots = await purse.of_call(key, call.model, end_user)
        if call.pots and call.governed is None:  # now: should it be sent in copies, they share it
            call.governed = Governed(purse.quota)
