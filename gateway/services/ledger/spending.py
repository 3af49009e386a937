"""What has been spent, read from the ledger's roll-ups."""

from __future__ import annotations

from gateway.store.postgres import Postgres
from gateway.store.sql import load


class Spending:
    """Sums over `usage_daily`, as far back as it is kept (`ledger.rollup_retention_months`).

    What is still in a journal is not counted yet (`journal_lag_rows`).
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.ledger")

    async def spent_nano_usd(self, key_id: str) -> int:
        """The cost of all attempts of a key, nano-dollars. Raises store_unavailable."""
        spent: int = await self._postgres.fetchval(self._sql["spent"], key_id)
        return spent
