"""Who pays for this request?"""

from __future__ import annotations

from gateway.pipeline.call import Call
from gateway.pipeline.governed import Governed
from gateway.pipeline.purse import Purse
from gateway.pipeline.stage import Stage


class CheckBudget(Stage):
    """Find the budgets that pay. The money is set aside for each attempt, at its target's price (governor.py)."""

    name = "check_budget"

    def __init__(self, purse: Purse) -> None:
        self._purse = purse

    async def on_request(self, call: Call) -> None:
        key, purse = call.key, self._purse
        assert key is not None
        call.pots = await purse.of_request(key, call.model, call.document)
        if call.pots and call.governed is None:  # now: should it be sent in copies, they share it
            call.governed = Governed(purse.quota)
