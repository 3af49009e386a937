"""The months of the ledger: partitions for those to come, and none for those that are over long ago."""

from __future__ import annotations

import logging

from gateway.store import sql
from gateway.store.postgres import Postgres

_log = logging.getLogger("gateway.ledger")

_ROLLUPS = ("forget_hours", "forget_days", "forget_tag_hours", "forget_tag_days")


class Months:
    """Every worker does this; whoever is first has done it.

    Rows before the last `retention_months` whole months are dropped, roll-ups before the last
    `rollup_retention_months`; None keeps them.
    """

    def __init__(
        self,
        postgres: Postgres,
        *,
        months_ahead: int,
        retention_months: int | None,
        rollup_retention_months: int | None,
        timeout_s: float,
    ) -> None:
        self._postgres = postgres
        self._months_ahead = months_ahead
        self._retention_months = retention_months
        self._rollup_retention_months = rollup_retention_months
        self._timeout_s = timeout_s
        self._sql = sql.load(__package__)

    async def keep(self) -> None:
        """Make partitions from this month on, drop what is too old.

        Raises GatewayError or an asyncpg error; LockNotAvailableError where somebody reads an old month for long.
        """
        await self._postgres.execute(self._sql["ensure_partitions"], self._months_ahead, timeout_s=self._timeout_s)
        if (months := self._retention_months) is not None:
            # Each drop in a transaction of its own: copies wait for it.
            while (name := await self._drop_month(months)) is not None:
                _log.info("dropped %s (ledger.retention_months)", name)
        if (months := self._rollup_retention_months) is not None:
            for name in _ROLLUPS:
                while await self._postgres.execute(self._sql[name], months, timeout_s=self._timeout_s) != "DELETE 0":
                    pass

    async def _drop_month(self, months: int) -> str | None:
        name: str | None = await self._postgres.fetchval(self._sql["drop_month"], months, timeout_s=self._timeout_s)
        return name
