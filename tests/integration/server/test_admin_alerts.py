"""`/admin/alerts` on a real PostgreSQL, without HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.server.admin.alerts import AlertPages
from gateway.server.admin.request import AdminRequest
from gateway.services.alerts.history import AlertLog
from gateway.services.alerts.service import Alerts
from gateway.services.alerts.webhook import Webhook
from gateway.store.audit import MASTER, Actor
from gateway.store.postgres import Postgres
from tests.integration.services.alerts.budgeting import USD, add_budget, add_period
from tests.integration.services.governed import add_key, add_team


async def asked(postgres: Postgres, *, team: str | None = None, **query: str) -> Any:
    """The page that somebody gets."""
    actor = MASTER if team is None else Actor("key", "admin")
    request = AdminRequest(
        "GET", query={("from" if name == "since" else name): value for name, value in query.items()}, actor=actor,
        team_id=None if team is None else uuid.UUID(team),
    )  # fmt: skip
    status, payload = await AlertPages(AlertLog(postgres)).page(request)
    assert status == 200
    return orjson.loads(orjson.dumps(payload))


async def raise_alerts(postgres: Postgres, *webhooks: Webhook) -> None:
    async def post(url: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        return 200

    alerts = Alerts(postgres, post, Metrics.in_memory())
    alerts.use(webhooks, post)
    await alerts.check()


async def test_alerts_are_listed_newest_first_page_by_page(postgres: Postgres) -> None:
    budget = await add_budget(postgres)
    await add_period(postgres, budget, 81 * USD + 1, end_user="alice")
    await raise_alerts(postgres, Webhook("https://host/s3cret"))
    first = await asked(postgres, limit="1")
    assert first["has_more"]
    second = await asked(postgres, limit="1", after=first["last_id"])
    assert not second["has_more"]
    newest, oldest = first["data"][0], second["data"][0]
    assert (newest["threshold_percent"], oldest["threshold_percent"]) == (80, 50)
    assert (newest["spent_usd"], newest["limit_usd"]) == (81.000000001, 100.0)
    assert (newest["budget_id"], newest["kind"], newest["end_user"]) == (str(budget), "threshold", "alice")
    assert newest["text"].startswith("Budget 'spring' (global, user alice): 80 % reached")
    (delivery,) = newest["deliveries"]
    assert (delivery["attempts"], delivery["delivered_at"], delivery["last_error"]) == (0, None, None)
    assert delivery["webhook"].startswith("host#")
    assert "s3cret" not in str(first)


async def test_they_are_found_by_budget_kind_and_time(postgres: Postgres) -> None:
    one, other = await add_budget(postgres), await add_budget(postgres, thresholds=[10])
    await add_period(postgres, one, 80 * USD)
    await add_period(postgres, other, 10 * USD)
    await raise_alerts(postgres)

    async def count(**query: str) -> int:
        return len((await asked(postgres, **query))["data"])

    hour = timedelta(hours=1)
    before, after = ((datetime.now(UTC) + shift).isoformat() for shift in (-hour, hour))
    assert await count() == 3
    assert await count(budget=str(one)) == 2
    assert await count(kind="threshold") == 3
    assert await count(kind="burn_rate") == 0
    assert await count(since=before, to=after) == 3
    assert await count(since=after) == await count(to=before) == 0


async def test_a_teams_admin_sees_its_teams_and_its_keys_alerts_alone(postgres: Postgres) -> None:
    team, foreign = await add_team(postgres, "core"), await add_team(postgres, "other")
    places = [("team", team), ("team", foreign), ("global", "")]
    places += [
        (scope, await add_key(postgres, team_id=whose)) for whose in (team, foreign) for scope in ("key", "end_user")
    ]
    for scope, subject in places:
        await add_period(postgres, await add_budget(postgres, thresholds=[80], scope=scope, subject=subject), 80 * USD)
    await raise_alerts(postgres, Webhook("https://host/"))
    seen = (await asked(postgres, team=team))["data"]
    assert {(alert["scope"], alert["subject"]) for alert in seen} == {places[0], places[3], places[4]}
    assert not any("deliveries" in alert for alert in seen)
    assert len((await asked(postgres))["data"]) == 7


@pytest.mark.parametrize(
    ("name", "value"), [("kind", "x"), ("budget", "x"), ("since", "x"), ("limit", "0"), ("after", "x"), ("bugdet", "x")]
)
async def test_a_wrong_query_is_refused_by_name(postgres: Postgres, name: str, value: str) -> None:
    with pytest.raises(GatewayError) as raised:
        await asked(postgres, **{name: value})
    assert (raised.value.code, raised.value.param) == ("invalid_field", "from" if name == "since" else name)
