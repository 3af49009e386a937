"""What holds for a caller, as it is shown to the caller itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.pipeline.purse import Pot, Purse
from gateway.services.budgets.budget import moment
from gateway.services.keys.key import Key
from gateway.services.limits.limit import NUMBERS, Limit
from gateway.services.limits.service import Limits
from gateway.wire.shown import shown_time, usd


class Allowance:
    """The limits and budgets of keys; `totals(period_ids)` gives what the ledger has of each, in nano-dollars."""

    def __init__(self, limits: Limits, purse: Purse, totals: Callable[[list[int]], Awaitable[Sequence[int]]]) -> None:
        self._limits = limits
        self._purse = purse
        self._totals = totals

    async def of(self, key: Key) -> dict[str, Any]:
        """`limits` and `budgets` that apply to whatever the key asks for; none for the master key.

        What is set for one model, provider or end user is not among them. Raises GatewayError store_unavailable.
        """
        if key.is_master:
            return {"limits": [], "budgets": []}
        limits = self._limits.of_caller(key.organisation_id, key.team_id, key.user_id, key.line_id)
        pots = await self._purse.of_call(key, "", "")
        totals = await self._totals([pot.period.id for pot in pots])
        return {
            "limits": [_limit(limit) for limit in limits],
            "budgets": [_budget(pot, spent) for pot, spent in zip(pots, totals, strict=True)],
        }


def _limit(limit: Limit) -> dict[str, Any]:
    numbers = {name: getattr(limit, name) for name in NUMBERS}
    return {"scope": limit.scope, **{name: most for name, most in numbers.items() if most is not None}}


def _budget(pot: Pot, spent: int) -> dict[str, Any]:
    budget, period = pot.budget, pot.period
    allowance = budget.limit_nano_usd + period.topped_up_nano_usd
    return {
        "name": budget.name,
        "scope": budget.scope,
        "period": budget.period,
        "hard": budget.hard,
        "limit_usd": usd(allowance),
        "spent_usd": usd(spent),
        "left_usd": usd(max(0, allowance - spent)),
        "ends_at": None if period.ends_at_us is None else shown_time(moment(period.ends_at_us)),
    }
