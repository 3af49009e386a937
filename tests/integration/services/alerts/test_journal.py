"""A journal that cannot be written: who hears of it, and how often."""

from __future__ import annotations

import asyncio
import uuid

import orjson

from gateway.server.admin.alerts import AlertPages
from gateway.server.admin.request import AdminRequest
from gateway.services.alerts.history import AlertLog
from gateway.services.alerts.service import AlertOptions
from gateway.services.alerts.webhook import Webhook
from gateway.store.audit import MASTER, Actor
from gateway.store.postgres import Postgres
from gateway.upstream.pool import Pool
from tests.integration.services.alerts.budgeting import KEY, USD, Worker, add_budget, add_period, receiving
from tests.integration.services.governed import add_team

PLACE = "host-1:/home/journal"


async def test_workers_on_one_disk_tell_of_it_once_by_webhook_metric_and_admin_api(
    postgres: Postgres, pool: Pool
) -> None:
    async with receiving() as json, receiving() as chat:
        webhooks = (Webhook(json.url, "json", KEY), Webhook(chat.url, "slack"))
        workers = [Worker(postgres, pool, AlertOptions(), *webhooks) for _ in range(4)]
        for worker in workers:
            worker.alerts.journal_unwritable(PLACE, "No space left on device")
        assert sorted(await asyncio.gather(*(worker.alerts.check() for worker in workers))) == [0, 0, 0, 1]
        assert sum(worker.counted("journal_unwritable") for worker in workers) == 1
        workers[0].alerts.journal_unwritable("host-2:/home/journal", "No space left on device")
        assert await workers[0].alerts.check() == 1
        await workers[1].deliver_all()
        assert (len(json.told), len(chat.told)) == (2, 2)
    told = orjson.loads(json.told[0].body)
    assert told["type"] == "gateway.journal_unwritable"
    assert (told["data"]["subject"], told["data"]["budget_id"], told["data"]["spent_usd"]) == (PLACE, None, None)
    text = orjson.loads(chat.told[0].body)["text"]
    assert f"{PLACE} (No space left on device)" in text
    _, page = await AlertPages(AlertLog(postgres)).page(AdminRequest("GET", actor=MASTER))
    assert [alert["subject"] for alert in page["data"]] == ["host-2:/home/journal", PLACE]
    assert page["data"][1]["text"] == text
    assert all(one["delivered_at"] for one in page["data"][1]["deliveries"])


async def test_a_teams_admin_sees_its_budgets_alerts_and_not_the_gateways(postgres: Postgres, pool: Pool) -> None:
    team_id = await add_team(postgres, "red")
    await add_period(postgres, await add_budget(postgres, thresholds=[50], scope="team", subject=team_id), 60 * USD)
    worker = Worker(postgres, pool, AlertOptions())
    worker.alerts.journal_unwritable(PLACE, "Input/output error")
    assert await worker.alerts.check() == 2
    request = AdminRequest("GET", actor=Actor("key", "admin"), team_id=uuid.UUID(team_id))
    _, page = await AlertPages(AlertLog(postgres)).page(request)
    assert [alert["kind"] for alert in page["data"]] == ["threshold"]
    filtered = AdminRequest("GET", query={"kind": "journal_unwritable"}, actor=MASTER)
    _, page = await AlertPages(AlertLog(postgres)).page(filtered)
    assert [alert["scope"] for alert in page["data"]] == ["gateway"]
