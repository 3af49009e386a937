"""Budgets on a real PostgreSQL: made, changed, topped up and reset by many at once, and always in one period."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.budgets.budget import MOST_NANO_USD, Period, microseconds
from gateway.services.budgets.of_keys import of_keys, put_for_key
from gateway.services.budgets.record import BudgetFilter, BudgetRecord
from gateway.services.budgets.register import BudgetRegister
from gateway.services.budgets.service import Budgets
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Connection, Postgres
from gateway.tasks import Tasks
from tests.integration.services.governed import ACTOR, UNKNOWN, add_key, add_team, audited, refusal

GLOBAL: Any = ("global", "", None)
USD = 1_000_000_000
NOBODY = (None, None, None, None)


class Clock:
    """The time of a worker, which a test moves."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    @property
    def us(self) -> int:
        return int(self() * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0)


@pytest.fixture
async def budgets(postgres: Postgres, tasks: Tasks, clock: Clock) -> Budgets:
    made = Budgets(postgres, tasks, clock)
    await made.load()
    await postgres.listen("gateway_changes", made.on_change)
    return made


@pytest.fixture
def register(postgres: Postgres) -> BudgetRegister:
    """As another worker has it: what it changes is heard of by notifications alone."""
    return BudgetRegister(postgres, nobody_follows)


async def heard(budgets: Budgets, generation: int) -> float:
    """Wait until it is past this generation; for how long, in seconds."""
    began = time.monotonic()
    while budgets.generation == generation:
        assert time.monotonic() < began + 10, "nothing was heard"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def settle(postgres: Postgres, period_id: int, nano_usd: int) -> None:
    """As the ledger does."""
    await postgres.execute(
        "UPDATE budget_periods SET settled_nano_usd = settled_nano_usd + $2 WHERE id = $1", period_id, nano_usd
    )


def current(record: BudgetRecord) -> Any:
    assert record.current is not None
    return record.current


async def periods(postgres: Postgres, budget_id: str, end_user: str = "") -> list[tuple[datetime, datetime | None]]:
    """A budget's periods, oldest first."""
    rows = await postgres.fetch(
        "SELECT starts_at, ends_at FROM budget_periods WHERE budget_id = $1 AND end_user = $2 ORDER BY starts_at",
        uuid.UUID(budget_id),
        end_user,
    )
    return [(row["starts_at"], row["ends_at"]) for row in rows]


def follow_on_each_other(found: list[tuple[datetime, datetime | None]]) -> bool:
    return all(earlier[1] == later[0] for earlier, later in itertools.pairwise(found))


# --- made and heard of --------------------------------------------------------------------------------


async def test_a_budget_is_made_with_its_period_and_every_worker_hears_of_it(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    took_s = []
    seen = budgets.generation
    record = await register.create(GLOBAL, {"limit_nano_usd": 25 * USD, "name": "all of us"}, ACTOR)
    took_s.append(await heard(budgets, seen))
    (budget,) = budgets.of_caller(*NOBODY)
    assert (budget.id, budget.limit_nano_usd, budget.thresholds) == (record.id, 25 * USD, (50, 80, 100))
    assert (budget.period, budget.zone, budget.hard, budget.on_too_dear) == ("month", "UTC", True, "clamp")
    period = budgets.period(budget, clock.us)
    assert period is not None
    assert period.id == current(record).id
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert period.starts_at_us == microseconds(first)

    seen = budgets.generation
    await register.change(uuid.UUID(record.id), {"limit_nano_usd": 5, "hard": False}, ACTOR)
    took_s.append(await heard(budgets, seen))
    (budget,) = budgets.of_caller(*NOBODY)
    assert (budget.limit_nano_usd, budget.hard) == (5, False)
    # Another limit is no reason for another period.
    assert budgets.period(budget, clock.us) == period

    seen = budgets.generation
    await register.delete(uuid.UUID(record.id), ACTOR)
    took_s.append(await heard(budgets, seen))
    assert budgets.of_caller(*NOBODY) == ()
    assert min(took_s) < 0.25
    assert await audited(postgres) == [("created", "budget"), ("changed", "budget"), ("deleted", "budget")]


async def test_those_who_read_the_products_columns_see_the_limit(register: BudgetRegister, postgres: Postgres) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": MOST_NANO_USD}, ACTOR)
    query = "SELECT monthly_limit, current_usage, budget_name, reset_day FROM cost_budgets"
    row = await postgres.fetchrow(query)
    assert row is not None
    assert tuple(row) == (Decimal("9007199.254740991"), 0, "global", 1)
    await register.change(uuid.UUID(record.id), {"limit_nano_usd": 1}, ACTOR)
    assert await postgres.fetchval(query) == Decimal("0.000000001")


async def test_rows_of_another_service_are_left_alone(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres
) -> None:
    query = "INSERT INTO cost_budgets (budget_name, monthly_limit, alert_thresholds) VALUES ('x', 5, '{}') RETURNING id"
    row_id = await postgres.fetchval(query)
    await budgets.load()
    assert budgets.get(str(row_id)) is None
    assert await register.page(BudgetFilter()) == ([], False)
    with pytest.raises(GatewayError) as raised:
        await register.get(row_id)
    assert refusal(raised) == ("not_found", None)


async def test_budgets_are_found_for_whom_they_apply(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres
) -> None:
    team = await add_team(postgres, "core")
    key = await add_key(postgres, team_id=team)
    places: list[Any] = [
        ("team", team, None),
        ("key", key, None),
        ("key", key, None),
        ("key", key, "fast"),
        ("end_user", key, None),
        ("target", "lab/fast", None),
    ]
    made = [await register.create(place, {"limit_nano_usd": number}, ACTOR) for number, place in enumerate(places)]
    await budgets.load()
    assert [budget.limit_nano_usd for budget in budgets.of_caller(None, team, None, key)] == [0, 1, 2]
    assert [budget.limit_nano_usd for budget in budgets.of_model(team, key, "fast")] == [3]
    assert [budget.limit_nano_usd for budget in budgets.of_end_users(key)] == [4]
    assert [budget.limit_nano_usd for budget in budgets.of_target("lab", "lab/fast")] == [5]
    assert [record.team_id for record in made] == [team, team, team, team, team, None]
    found, more = await register.page(BudgetFilter(within=uuid.UUID(team)), limit=4)
    assert (len(found), more) == (4, True)
    rest, more = await register.page(BudgetFilter(within=uuid.UUID(team)), after=uuid.UUID(found[-1].id))
    assert (len(rest), more) == (1, False)
    of_key = await register.page(BudgetFilter(scope="key", subject=key, model="fast"))
    assert [record.limit_nano_usd for record in of_key[0]] == [3]


async def test_a_budget_on_nobody_is_refused(register: BudgetRegister) -> None:
    for scope in ("team", "end_user"):
        place: Any = (scope, UNKNOWN, None)
        with pytest.raises(GatewayError) as raised:
            await register.create(place, {"limit_nano_usd": 1}, ACTOR)
        assert refusal(raised) == ("invalid_field", "subject")


# --- top-ups and resets -------------------------------------------------------------------------------


async def test_top_ups_made_at_once_all_count_and_end_with_the_period(
    budgets: Budgets, register: BudgetRegister, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "total"}, ACTOR)
    budget_id = uuid.UUID(record.id)
    await asyncio.gather(*(register.top_up(budget_id, 3, ACTOR) for _ in range(10)))
    record = await register.get(budget_id)
    assert (current(record).topped_up_nano_usd, record.remaining_nano_usd) == (30, USD + 30)
    await budgets.catch_up(budget_id)
    (budget,) = budgets.of_caller(*NOBODY)
    period = budgets.period(budget, clock.us)
    assert period is not None
    assert period.topped_up_nano_usd == 30
    record = await register.reset(budget_id, ACTOR)
    assert (current(record).topped_up_nano_usd, current(record).ends_at) == (0, None)


async def test_a_budget_and_its_top_ups_stay_countable(register: BudgetRegister) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": MOST_NANO_USD - 5}, ACTOR)
    budget_id = uuid.UUID(record.id)
    with pytest.raises(GatewayError) as raised:
        await register.top_up(budget_id, 6, ACTOR)
    assert refusal(raised) == ("invalid_field", "amount_usd")
    await register.top_up(budget_id, 5, ACTOR)
    with pytest.raises(GatewayError) as raised:
        await register.change(budget_id, {"limit_nano_usd": MOST_NANO_USD - 4}, ACTOR)
    assert refusal(raised) == ("invalid_field", "limit_usd")


async def test_a_reset_begins_a_period_with_nothing_spent_that_ends_when_the_old_one_would_have(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD}, ACTOR)
    old = current(record)
    await settle(postgres, old.id, USD + 1)
    await postgres.execute("UPDATE cost_budgets SET current_usage = 1.000000001")
    record = await register.get(uuid.UUID(record.id))
    assert record.remaining_nano_usd == -1
    seen = budgets.generation
    record = await register.reset(uuid.UUID(record.id), ACTOR)
    new = current(record)
    assert (record.remaining_nano_usd, new.settled_nano_usd, new.ends_at) == (USD, 0, old.ends_at)
    assert await postgres.fetchval("SELECT current_usage FROM cost_budgets") == 0
    await heard(budgets, seen)
    await budgets.catch_up(uuid.UUID(record.id))
    (budget,) = budgets.of_caller(*NOBODY)
    period = budgets.period(budget, clock.us)
    assert period is not None
    assert period.id == new.id
    assert (await audited(postgres))[-1] == ("reset", "budget")


async def test_resets_top_ups_changes_and_openings_at_once_leave_one_period_after_the_other(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "day"}, ACTOR)
    budget_id = uuid.UUID(record.id)
    await budgets.catch_up(budget_id)
    (budget,) = budgets.of_caller(*NOBODY)
    work: list[Any] = []
    for number in range(4):
        work += [
            register.reset(budget_id, ACTOR),
            register.top_up(budget_id, 1, ACTOR),
            register.change(budget_id, {"period": ("day", "week", "month", "total")[number]}, ACTOR),
            budgets.open_period(budget, clock.us),
        ]
    await asyncio.gather(*work)
    found = await periods(postgres, record.id)
    assert len(found) >= 5
    assert follow_on_each_other(found)
    topped_up = await postgres.fetchval("SELECT sum(topped_up_nano_usd) FROM budget_periods")
    assert topped_up == 4
    rows = await postgres.fetch("SELECT after FROM audit_log WHERE action = 'topped_up'")
    assert len(rows) == 4


@pytest.mark.parametrize(
    "changes", [{"period": "week"}, {"period": "total"}, {"reset_day": 17}, {"time_zone": "Asia/Tokyo"}]
)
async def test_another_calendar_begins_a_new_period_now(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock, changes: dict[str, Any]
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD}, ACTOR)
    await settle(postgres, current(record).id, 7)
    budget_id = uuid.UUID(record.id)
    # The next month is prepared already, by the old calendar.
    old = budgets.get(record.id) or (await budgets.catch_up(budget_id), budgets.get(record.id))[1]
    assert old is not None
    end = current(record).ends_at
    await budgets.open_period(old, microseconds(end))
    changed = await register.change(budget_id, changes, ACTOR)
    assert current(changed).settled_nano_usd == 0
    found = await periods(postgres, record.id)
    assert len(found) == 2
    assert follow_on_each_other(found)
    await budgets.catch_up(budget_id)
    # A worker that still goes by the old calendar gets the new one's period.
    assert (await budgets.open_period(old, clock.us)).id == current(changed).id
    assert len(await periods(postgres, record.id)) == 2


async def test_the_same_calendar_said_again_changes_no_period(register: BudgetRegister) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD}, ACTOR)
    changed = await register.change(
        uuid.UUID(record.id), {"period": "month", "reset_day": 1, "time_zone": "UTC"}, ACTOR
    )
    assert current(changed) == current(record)


async def test_a_budget_that_was_deleted_can_no_longer_be_changed(register: BudgetRegister) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD}, ACTOR)
    budget_id = uuid.UUID(record.id)
    await register.delete(budget_id, ACTOR)
    for attempt in (
        register.get(budget_id),
        register.change(budget_id, {"hard": False}, ACTOR),
        register.top_up(budget_id, 1, ACTOR),
        register.reset(budget_id, ACTOR),
        register.delete(budget_id, ACTOR),
    ):
        with pytest.raises(GatewayError) as raised:
            await attempt
        assert raised.value.code == "not_found"


# --- periods ------------------------------------------------------------------------------------------


async def test_the_next_period_is_there_before_the_old_one_ends(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "day"}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    (budget,) = budgets.of_caller(*NOBODY)
    end = current(record).ends_at
    end_us = microseconds(end)
    await budgets.prepare_now()
    left_s = (end - datetime.now(UTC)).total_seconds()
    if left_s > 660:
        assert budgets.period(budget, end_us) is None
    clock.ahead_s = left_s - 60
    await budgets.prepare_now()
    following = budgets.period(budget, end_us)
    assert following is not None
    assert (following.starts_at_us, following.ends_at_us) == (end_us, microseconds(end + timedelta(days=1)))
    assert budgets.period(budget, end_us - 1) != following
    await budgets.prepare_now()
    assert len(await periods(postgres, record.id)) == 2


async def test_a_period_that_nobody_prepared_is_opened_once_by_all_that_ask(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, tasks: Tasks, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "week"}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    (budget,) = budgets.of_caller(*NOBODY)
    others = [Budgets(postgres, tasks, clock) for _ in range(3)]
    later_us = microseconds(current(record).ends_at + timedelta(days=8))
    opened = await asyncio.gather(*(one.open_period(budget, later_us) for one in (budgets, *others) for _ in range(5)))
    assert len({period.id for period in opened}) == 1
    assert all(one.period(budget, later_us) == opened[0] for one in (budgets, *others))
    assert len(await periods(postgres, record.id)) == 2


async def test_periods_that_are_missing_are_opened_when_the_budgets_are_read(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "day"}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    clock.ahead_s = 10 * 86_400
    await budgets.load()
    (budget,) = budgets.of_caller(*NOBODY)
    assert budgets.period(budget, clock.us) is not None


async def test_whoever_waits_for_a_period_may_go_away(budgets: Budgets, register: BudgetRegister, clock: Clock) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD, "period": "day"}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    (budget,) = budgets.of_caller(*NOBODY)
    later_us = clock.us + 86_400_000_000 * 3
    first = asyncio.create_task(budgets.open_period(budget, later_us))
    second = asyncio.create_task(budgets.open_period(budget, later_us))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Period)


# --- end users ----------------------------------------------------------------------------------------


async def test_each_end_user_has_a_budget_of_its_own(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock
) -> None:
    key = await add_key(postgres)
    record = await register.create(("end_user", key, None), {"limit_nano_usd": USD, "max_end_users": 2}, ACTOR)
    budget_id = uuid.UUID(record.id)
    assert record.current is None
    await budgets.catch_up(budget_id)
    (budget,) = budgets.of_end_users(key)
    ann = await budgets.open_period(budget, clock.us, "ann")
    bob = await budgets.open_period(budget, clock.us, "bob")
    assert ann.id != bob.id
    assert budgets.period(budget, clock.us, "ann") == ann
    await register.top_up(budget_id, 5, ACTOR, end_user="ann")
    await settle(postgres, ann.id, 3)
    await budgets.catch_up(budget_id)
    held = budgets.period(budget, clock.us, "ann")
    assert held is not None
    assert (held.topped_up_nano_usd, held.settled_nano_usd) == (5, 3)
    assert (await register.get(budget_id, "ann")).remaining_nano_usd == USD + 2
    assert (await register.get(budget_id, "bob")).remaining_nano_usd == USD

    with pytest.raises(GatewayError) as raised:
        await budgets.open_period(budget, clock.us, "cy")
    assert refusal(raised) == ("invalid_field", "user")
    assert "at most 2 users" in raised.value.message
    # Those that are known go on, also in a worker that has not met them.
    assert (await Budgets(postgres, Tasks(), clock).open_period(budget, clock.us, "bob")).id == bob.id

    await register.reset(budget_id, ACTOR, end_user="ann")
    await budgets.catch_up(budget_id)
    assert budgets.period(budget, clock.us, "bob") == bob
    renewed = budgets.period(budget, clock.us, "ann")
    assert renewed is not None
    assert (renewed.settled_nano_usd, renewed.ends_at_us) == (0, ann.ends_at_us)
    await register.reset(budget_id, ACTOR)
    await budgets.catch_up(budget_id)
    found = [budgets.period(budget, clock.us, end_user) for end_user in ("ann", "bob")]
    assert all(period is not None and period.id not in (ann.id, bob.id, renewed.id) for period in found)


async def test_there_are_never_more_end_users_than_allowed_however_many_come_at_once(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, tasks: Tasks, clock: Clock
) -> None:
    key = await add_key(postgres)
    record = await register.create(("end_user", key, None), {"limit_nano_usd": USD, "max_end_users": 5}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    (budget,) = budgets.of_end_users(key)
    workers = [budgets, Budgets(postgres, tasks, clock)]
    asked = [worker.open_period(budget, clock.us, f"user-{n}") for n in range(12) for worker in workers]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {outcome.code for outcome in outcomes if isinstance(outcome, GatewayError)} == {"invalid_field"}
    assert len({outcome.end_user for outcome in outcomes if isinstance(outcome, Period)}) == 5
    assert await postgres.fetchval("SELECT count(DISTINCT end_user) FROM budget_periods") == 5


@pytest.mark.parametrize("end_user", ["x" * 513, "a\0b", "\ud800"])
async def test_an_end_user_that_no_row_can_hold_is_refused(
    budgets: Budgets, register: BudgetRegister, postgres: Postgres, clock: Clock, end_user: str
) -> None:
    key = await add_key(postgres)
    record = await register.create(("end_user", key, None), {"limit_nano_usd": USD}, ACTOR)
    await budgets.catch_up(uuid.UUID(record.id))
    with pytest.raises(GatewayError) as raised:
        await budgets.open_period(budgets.of_end_users(key)[0], clock.us, end_user)
    assert refusal(raised) == ("invalid_field", "user")


async def test_an_end_user_is_named_where_there_are_any_and_only_there(
    register: BudgetRegister, postgres: Postgres
) -> None:
    key = await add_key(postgres)
    of_users = await register.create(("end_user", key, None), {"limit_nano_usd": USD}, ACTOR)
    of_key = await register.create(("key", key, None), {"limit_nano_usd": USD}, ACTOR)
    for attempt in (
        register.top_up(uuid.UUID(of_users.id), 1, ACTOR),
        register.top_up(uuid.UUID(of_key.id), 1, ACTOR, end_user="ann"),
        register.reset(uuid.UUID(of_key.id), ACTOR, end_user="ann"),
    ):
        with pytest.raises(GatewayError) as raised:
            await attempt
        assert refusal(raised) == ("invalid_field", "end_user")


# --- a team's admin, and keys with their budget -------------------------------------------------------


async def test_a_team_admin_has_a_say_over_the_budgets_of_its_own_keys_alone(
    register: BudgetRegister, postgres: Postgres
) -> None:
    team = await add_team(postgres, "core")
    within = uuid.UUID(team)
    own, foreign = await add_key(postgres, team_id=team), await add_key(postgres)
    for place in (("key", own, None), ("end_user", own, None)):
        record = await register.create(place, {"limit_nano_usd": 1}, ACTOR, within=within)
        await register.change(uuid.UUID(record.id), {"limit_nano_usd": 2}, ACTOR, within=within)
    for place, code in ((("team", team, None), "role_not_allowed"), (("key", foreign, None), "not_found")):
        wanted: Any = place
        with pytest.raises(GatewayError) as raised:
            await register.create(wanted, {"limit_nano_usd": 1}, ACTOR, within=within)
        assert raised.value.code == "role_not_allowed"
        budget_id = uuid.UUID((await register.create(wanted, {"limit_nano_usd": 1}, ACTOR)).id)
        for attempt in (
            register.change(budget_id, {"limit_nano_usd": 9}, ACTOR, within=within),
            register.top_up(budget_id, 9, ACTOR, within=within),
            register.reset(budget_id, ACTOR, within=within),
            register.delete(budget_id, ACTOR, within=within),
        ):
            with pytest.raises(GatewayError) as raised:
                await attempt
            assert raised.value.code == code


async def test_a_key_has_its_budget_and_so_have_those_it_is_rotated_into(
    register: BudgetRegister, postgres: Postgres
) -> None:
    first = await add_key(postgres)
    second = await add_key(postgres, rotated_from=first)

    async def put(key: str, fields: dict[str, Any] | None) -> Any:
        async def write(connection: Connection) -> Any:
            await put_for_key(connection, uuid.UUID(key), fields, ACTOR)
            return await of_keys(connection, [uuid.UUID(first), uuid.UUID(second), uuid.UUID(UNKNOWN)])

        return await postgres.in_transaction(write)

    assert await put(first, None) == {}
    with pytest.raises(GatewayError) as raised:
        await put(first, {"period": "day"})
    assert refusal(raised) == ("missing_field", "budget.limit_usd")
    found = await put(second, {"limit_nano_usd": USD, "period": "day"})
    assert found.keys() == {first, second}
    assert (found[first].limit_nano_usd, found[first].period, found[first].reset_day) == (USD, "day", 1)
    before = await register.get(uuid.UUID(found[first].id))
    assert before.subject == first
    found = await put(first, {"limit_nano_usd": 2 * USD})
    after = await register.get(uuid.UUID(found[first].id))
    assert (after.limit_nano_usd, after.period, after.current) == (2 * USD, "day", before.current)
    await register.create(("key", first, None), {"limit_nano_usd": 1}, ACTOR)
    with pytest.raises(GatewayError) as raised:
        await put(first, None)
    assert refusal(raised) == ("conflict", "budget")
    newest = (await register.page(BudgetFilter()))[0][0]
    await register.delete(uuid.UUID(newest.id), ACTOR)
    assert await put(second, None) == {}


async def test_what_is_shown_is_the_figure_of_the_period_in_force_and_no_other(
    register: BudgetRegister, postgres: Postgres, tasks: Tasks, clock: Clock
) -> None:
    record = await register.create(GLOBAL, {"limit_nano_usd": USD}, ACTOR)
    await settle(postgres, current(record).id, 7)
    shown = "SELECT current_usage * 1000000000 FROM cost_budgets"
    for wrong in (0, 3):
        await postgres.execute("UPDATE cost_budgets SET current_usage = $1", Decimal(wrong))
        budgets = Budgets(postgres, tasks, clock)
        await budgets.load()
        assert await budgets.show_present() > 0
        assert await postgres.fetchval(shown) == 7
    # What has not begun or ended since is not looked at again, once the clocks must agree on that.
    for _ in range(2):
        clock.ahead_s += 200
        await budgets.show_present()
    await postgres.execute("UPDATE cost_budgets SET current_usage = 3")
    await budgets.show_present()
    assert await postgres.fetchval(shown) == 3 * USD
