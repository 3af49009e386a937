"""`Budgets`: all budgets and their periods, in this worker's memory."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import asyncpg

from gateway.errors import GatewayError
from gateway.services.budgets.budget import END_USER, Budget, Period, budget_of, moment, period_of
from gateway.services.budgets.held import HeldPeriods
from gateway.services.budgets.periods import PeriodRows, Wanted, check_end_user
from gateway.store.follower import Follower
from gateway.store.postgres import Connection, Postgres, unavailable
from gateway.store.scopes import ScopeIndex
from gateway.store.sql import load
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.budgets")

_PAGE = 2000
_OPENED_AT_ONCE = 500
# A period that ends within this is followed up beforehand; each worker looks at moments of its own, so that mostly
# one of them does it and the others hear of it.
_AHEAD_US = 600_000_000
_LOOK_EVERY_S = (20.0, 60.0)
_FIRST_LOOK_S = (0.5, 2.0)
# After a period's end by this worker's clock; the database's may be so much slower, and is looked at once more then.
_AFTER_TURN_S = (0.1, 1.0)
_SKEW_US = 90_000_000


class Budgets:
    """The budgets that are in force, as they change, and the periods that they are in.

    Give `on_change` to `Postgres.listen("gateway_changes", …)`, call `load` before serving, and let `prepare` run.
    `generation` grows with every change: what was derived from the answers of `of_caller` and the others holds as long
    as it stays. `now_s` is the time, Unix seconds.
    """

    def __init__(self, postgres: Postgres, tasks: Tasks, now_s: Callable[[], float] = time.time) -> None:
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._tasks = tasks
        self._now_s = now_s
        self._sql = load("gateway.services.budgets")
        self._rows = PeriodRows()
        self._index: ScopeIndex[Budget] = ScopeIndex()
        self._held = HeldPeriods()
        self._opening: dict[tuple[str, str], asyncio.Task[Period | GatewayError]] = {}
        self._follower = Follower("cost_budgets", self._read, tasks)
        self.on_change = self._follower.on_change
        self.catch_up = self._follower.catch_up
        self._shown_us = 0
        self.generation = 0

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._index)

    # --- which budgets --------------------------------------------------------------------------------

    def of_caller(
        self, organisation_id: str | None, team_id: str | None, user_id: str | None, key_id: str | None
    ) -> tuple[Budget, ...]:
        """What applies to all that somebody asks for: everybody's, its organisation's, team's, user's and key's.

        `key_id`, here and elsewhere, is that of the first key of a line of rotated ones.
        """
        return self._index.of_caller(organisation_id, team_id, user_id, key_id)

    def of_model(self, team_id: str | None, key_id: str | None, model: str) -> tuple[Budget, ...]:
        """What applies when `model` (its name, no alias) is asked for: its own, and its team's and key's for it."""
        return self._index.of_model(team_id, key_id, model)

    def of_target(self, provider: str, target_name: str) -> tuple[Budget, ...]:
        """What applies when `target_name`, which is `provider/model`, is sent something."""
        return self._index.of_target(provider, target_name)

    def of_end_users(self, key_id: str | None) -> tuple[Budget, ...]:
        """What each `user` named under a key has; their periods are asked for with `end_user`."""
        return self._index.at(END_USER, key_id)

    def get(self, budget_id: str) -> Budget | None:
        """The budget with this id, if it is in force."""
        return self._index.get(budget_id)

    # --- which period ---------------------------------------------------------------------------------

    def period(self, budget: Budget, now_us: int, end_user: str = "") -> Period | None:
        """The period in force at `now_us`, Unix microseconds; None says only that `open_period` must be asked."""
        return self._held.find(budget.id, now_us, end_user)

    async def open_period(self, budget: Budget, now_us: int, end_user: str = "") -> Period:
        """The same from the database, where it is made if it is not there.

        Raises GatewayError invalid_field (`param` user) for one more end user than the budget is for, and
        store_unavailable.
        """
        place = (budget.id, end_user)
        task = self._opening.get(place)
        if task is None:
            check_end_user(end_user)
            wanted = Wanted(uuid.UUID(budget.id), moment(now_us), end_user)
            # A task of its own, whoever of those that wait for it goes away.
            task = self._opening[place] = self._tasks.spawn(self._open_one(wanted), name="open a budget's period")
            task.add_done_callback(lambda _: self._opening.pop(place, None))
        found = await asyncio.shield(task)
        if isinstance(found, GatewayError):
            raise GatewayError(found.code, found.message, param=found.param, should_retry=found.should_retry)
        return found

    async def _open_one(self, wanted: Wanted) -> Period | GatewayError:
        try:
            return (await self._open([wanted], self._hurried))[0]
        except GatewayError as error:
            return error
        except asyncpg.PostgresError as refusal:
            return unavailable(refusal)

    async def _open(self, wanted: Sequence[Wanted], postgres: Postgres) -> list[Period]:
        async def open(connection: Connection) -> list[Period]:
            there = await self._rows.in_force(connection, wanted)
            return there if len(there) == len(wanted) else await self._rows.open(connection, wanted)

        found = await postgres.in_transaction(open)
        for period in found:
            self._held.add(period)
        return found

    async def prepare(self) -> None:
        """Open the next period of every budget shortly before the one in force ends, and have `current_usage` be the
        new one's when it begins, as long as the worker lives."""
        pause_s = random.uniform(*_FIRST_LOOK_S)
        while True:
            await asyncio.sleep(pause_s)
            pause_s = random.uniform(*_LOOK_EVERY_S)
            try:
                await self.prepare_now()
                pause_s = min(pause_s, await self.show_present())
            except (GatewayError, asyncpg.PostgresError) as error:
                _log.warning("periods cannot be prepared (%s)", type(error.__cause__ or error).__name__)

    async def prepare_now(self) -> None:
        """One look at what ends within ten minutes. Raises store_unavailable."""
        now_us = self._now_us()
        ids = (budget.id for budget in self._without_end_users(self._index))
        ending = self._held.ending(ids, now_us + _AHEAD_US)
        # What ended while nobody looked is followed up from now on.
        await self._open_in_parts([Wanted(uuid.UUID(one), moment(max(end_us, now_us))) for one, end_us in ending])

    async def show_present(self) -> float:
        """Have `current_usage` be what is spent of the period in force, where one began or ended since the last call.

        Gives the seconds until the next one does. Raises store_unavailable.
        """
        now_us = self._now_us()
        turns = list(self._held.turns(budget.id for budget in self._without_end_users(self._index)))
        turned = {uuid.UUID(one) for one, at_us in turns if self._shown_us <= at_us <= now_us}

        async def show(connection: Connection) -> None:
            rows = await connection.fetch(self._sql["outdated"], sorted(turned))
            if ids := [row["id"] for row in rows]:
                # Statements of their own: what the last one reads was committed before the lock was had.
                await connection.execute(self._sql["lock_shown"], ids)
                await connection.execute(self._sql["show_present"], ids)

        if turned:
            await self._postgres.in_transaction(show)
        self._shown_us = now_us - _SKEW_US
        ahead = min((at_us for _, at_us in turns if at_us > now_us), default=now_us + _AHEAD_US)
        return (ahead - now_us) / 1e6 + random.uniform(*_AFTER_TURN_S)

    # --- what is in memory ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read all rows, and open the periods that are missing. Raises GatewayError store_unavailable."""
        await self._read(None)

    async def know_keys(self, line_ids: Sequence[str]) -> None:
        """Have read what is set for these keys alone. Raises GatewayError where that cannot be done soon."""
        rows = await self._hurried.fetch(self._sql["of_lines"], list(line_ids))
        await self._follower.know([row["id"] for row in rows], lambda row_id: self._index.get(row_id) is not None)

    async def _read(self, changed: frozenset[uuid.UUID] | None) -> None:
        if changed is None:
            index: ScopeIndex[Budget] = ScopeIndex()
            held = HeldPeriods()
            last: uuid.UUID | None = None
            while rows := await self._postgres.fetch(self._sql["all"], last, _PAGE):
                last = rows[-1]["id"]
                await self._put(rows, index, held)
            self._index, self._held = index, held
        else:
            for part in _parts(list(changed), _PAGE):
                rows = await self._postgres.fetch(self._sql["by_id"], part)
                await self._put(rows, self._index, self._held)
                for gone in set(part) - {row["id"] for row in rows}:
                    self._index.remove(str(gone))
                    self._held.forget(str(gone))
        self.generation += 1
        await self._open_missing(changed)

    async def _put(self, rows: Sequence[asyncpg.Record], index: ScopeIndex[Budget], held: HeldPeriods) -> None:
        """Put the budgets of `rows` in `index`, their periods (and those of end users that are held now) in `held`."""
        budgets = [budget_of(row) for row in rows]
        periods: dict[str, list[Period]] = {budget.id: [] for budget in budgets}
        users = [(uuid.UUID(budget.id), user) for budget in budgets for user in self._held.end_users(budget.id)]
        found = await self._postgres.fetch(self._sql["periods"], [row["id"] for row in rows])
        if users:
            columns = [list(column) for column in zip(*users, strict=True)]
            found += await self._postgres.fetch(self._sql["periods_of_end_users"], *columns)
        for row in found:
            periods[str(row["budget_id"])].append(period_of(row))
        for budget in budgets:
            index.put(budget)
            held.replace(budget.id, periods[budget.id])

    async def _open_missing(self, changed: frozenset[uuid.UUID] | None) -> None:
        now_us = self._now_us()
        ids = (budget.id for budget in self._index) if changed is None else map(str, changed)
        budgets = self._without_end_users(filter(None, map(self._index.get, ids)))
        missing = [budget for budget in budgets if self._held.find(budget.id, now_us, "") is None]
        await self._open_in_parts([Wanted(uuid.UUID(budget.id), moment(now_us)) for budget in missing])

    async def _open_in_parts(self, wanted: Sequence[Wanted]) -> None:
        for part in _parts(wanted, _OPENED_AT_ONCE):
            await self._open(part, self._postgres)

    @staticmethod
    def _without_end_users(budgets: Iterable[Budget]) -> list[Budget]:
        return [budget for budget in budgets if budget.scope != END_USER]

    def _now_us(self) -> int:
        return int(self._now_s() * 1e6)


def _parts(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
