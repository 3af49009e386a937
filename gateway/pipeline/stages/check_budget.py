"""Who pays for this request?"""

from __future__ import annotations

from typing import ClassVar

from gateway.pipeline.call import Call
from gateway.pipeline.governed import Governed
from gateway.pipeline.purse import Pots, Purse
from gateway.pipeline.stage import Stage, Turn
from gateway.services.keys.key import Key


class CheckBudget(Stage):
    """Find the budgets that pay. The money is set aside for each attempt, at its target's price (governor.py)."""

    name: ClassVar[str] = "check_budget"

    def __init__(self, purse: Purse) -> None:
        self._purse = purse

    def on_request(self, call: Call) -> Turn:
        assert call.key is not None
        pots = self._purse.known(call.key, call.model, call.document)
        if pots is None:
            return self._find(call, call.key)
        self._note(call, pots)
        return None

    async def _find(self, call: Call, key: Key) -> None:
        self._note(call, await self._purse.of_request(key, call.model, call.document))

    def _note(self, call: Call, pots: Pots) -> None:
        call.pots = pots
        if pots and call.governed is None:  # now: should it be sent in copies, they share it
            call.governed = Governed(self._purse.quota)
