"""Budgets for the ledger's tests, and a listener that remembers what it was told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal

from gateway.services.ledger.service import Ledger
from gateway.services.ledger.settlements import Settled
from gateway.store.postgres import Postgres
from tests.unit.services.ledger.entries import complete, entry

COST_NANO_USD = 12_345  # of `complete(entry(…))`


class Told:
    """What the ledger told; `refusals` is how many calls of `adopted` still fail; whether all of `ended` do."""

    def __init__(self, *, refusals: int = 0, refused_ends: bool = False) -> None:
        self.deltas: dict[str, Counter[int]] = defaultdict(Counter)
        self.totals: Counter[int] = Counter()
        self.buried: list[str] = []
        self.refusals = refusals
        self.refused_ends = refused_ends
        self.ends = 0

    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        for each in settled:
            self.deltas[journal_id][each.period_id] += each.delta_nano_usd
            self.totals[each.period_id] = max(self.totals[each.period_id], each.total_nano_usd)

    async def adopted(self, journal_id: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("the counters are away")
        self.buried.append(journal_id)

    async def ended(self) -> None:
        if self.refused_ends:
            raise OSError("the database is away")
        self.ends += 1


async def make_period(postgres: Postgres, *, current: bool = True, end_user: str = "") -> int:
    """A budget of its own with one period; its id."""
    budget_id = await postgres.fetchval(
        "INSERT INTO cost_budgets (budget_name, budget_scope, limit_nano_usd) VALUES ('b', 'global', 1000) RETURNING id"
    )
    period_id: int = await postgres.fetchval(
        "INSERT INTO budget_periods (budget_id, starts_at, ends_at, end_user)"
        " VALUES ($1, now() - interval '1 hour', now() + $2 * interval '1 minute', $3) RETURNING id",
        budget_id,
        1 if current else -1,
        end_user,
    )
    return period_id


async def settled(postgres: Postgres, period_id: int) -> int:
    """What the period says is spent, nano-dollars."""
    found: int = await postgres.fetchval("SELECT settled_nano_usd FROM budget_periods WHERE id = $1", period_id)
    return found


async def shown(postgres: Postgres, period_id: int) -> Decimal:
    """What its budget says is spent, USD."""
    found: Decimal = await postgres.fetchval(
        "SELECT b.current_usage FROM cost_budgets b JOIN budget_periods p ON p.budget_id = b.id WHERE p.id = $1",
        period_id,
    )
    return found


def write(ledger: Ledger, numbers: range, budgets: str) -> None:
    """Completed attempts that name `budgets`."""
    for number in numbers:
        one = entry(number)
        one.budgets = budgets
        ledger.start(one)
        ledger.end(complete(one))
