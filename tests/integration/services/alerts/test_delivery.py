"""How webhooks hear of alerts: real HTTP, a real PostgreSQL, workers that die."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.assembly.alerting import Alerting, PoolPost
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.services.alerts.service import AlertOptions
from gateway.services.alerts.webhook import Webhook
from gateway.settings import Secret, Security, Settings, SettingsError
from gateway.settings.alerts import Alerts as Declared
from gateway.settings.alerts import Webhook as DeclaredWebhook
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule
from gateway.upstream.pool import Pool
from tests.integration.services.alerts.budgeting import (
    KEY,
    USD,
    Told,
    Worker,
    add_budget,
    add_period,
    receiving,
    slow_down,
)

QUICK = AlertOptions(look_every_s=0.05, first_retry_s=0.05, longest_retry_s=0.2, claim_s=10.0)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0.0)


async def deliveries(postgres: Postgres) -> list[dict[str, Any]]:
    rows = await postgres.fetch("SELECT * FROM budget_alert_deliveries ORDER BY alert_id, webhook")
    return [dict(row) for row in rows]


def verify(told: Told) -> None:
    """As the specification says, by nothing of the code under test."""
    stamp = told.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = f"{told.headers['webhook-id']}.{stamp}.".encode() + told.body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert told.headers["webhook-signature"] == f"v1,{digest}"


async def one_alert(postgres: Postgres, worker: Worker) -> str:
    """Raise one, and give its id."""
    await add_period(postgres, await add_budget(postgres, thresholds=[80]), 80 * USD)
    assert await worker.alerts.check() == 1
    return str(await postgres.fetchval("SELECT id FROM budget_alerts"))


async def test_a_webhook_is_told_once_and_can_verify_it(postgres: Postgres, pool: Pool) -> None:
    async with receiving() as receiver:
        worker = Worker(postgres, pool, QUICK, Webhook(receiver.url, "json", KEY))
        alert_id = await one_alert(postgres, worker)
        await worker.deliver_all()
    (told,) = receiver.told
    verify(told)
    assert told.path == "/hook?a=b"
    assert orjson.loads(told.body)["data"]["id"] == told.headers["webhook-id"] == alert_id
    (row,) = await deliveries(postgres)
    assert row["delivered_at"] is not None
    assert (row["attempts"], row["next_attempt_at"], row["last_error"]) == (1, None, None)


async def test_failures_that_may_pass_are_tried_again_each_signed_anew(postgres: Postgres, pool: Pool) -> None:
    async with receiving([503, 429, 500, 408]) as receiver:
        worker = Worker(postgres, pool, QUICK, Webhook(receiver.url, "json", KEY))
        alert_id = await one_alert(postgres, worker)
        await worker.alerts.deliver()
        (row,) = await deliveries(postgres)
        assert (row["attempts"], row["delivered_at"], row["last_error"]) == (1, None, "status 503")
        assert row["next_attempt_at"] is not None
        await worker.deliver_all()
    assert receiver.ids == [alert_id] * 5
    for told in receiver.told:
        verify(told)
    (row,) = await deliveries(postgres)
    assert (row["attempts"], row["next_attempt_at"], row["last_error"]) == (5, None, None)
    assert row["delivered_at"] is not None


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_what_will_not_pass_is_not_tried_again_and_no_redirect_is_followed(
    postgres: Postgres, pool: Pool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving([status]) as receiver:
        worker = Worker(postgres, pool, QUICK, Webhook(receiver.url, "json", KEY))
        await one_alert(postgres, worker)
        await worker.deliver_all()
        assert len(receiver.told) == 1
    (row,) = await deliveries(postgres)
    assert (row["delivered_at"], row["next_attempt_at"], row["last_error"]) == (None, None, f"status {status}")
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert "/hook" not in caplog.text


async def test_each_webhook_fares_on_its_own_and_chats_get_text(postgres: Postgres, pool: Pool) -> None:
    async with receiving() as chat, receiving([500]) as other:
        worker = Worker(
            postgres,
            pool,
            QUICK,
            Webhook(chat.url, "slack"),
            Webhook(other.url, "json", KEY),
            Webhook("http://[::1]:9/"),
        )
        await one_alert(postgres, worker)
        await worker.alerts.deliver()
        assert (len(chat.told), len(other.told)) == (1, 1)
        await other_turn(worker, other)
    assert len(chat.told) == 1
    assert orjson.loads(chat.told[0].body)["text"].startswith("Budget 'spring' (global): 80 % reached")
    assert "webhook-signature" not in chat.told[0].headers
    away = next(row for row in await deliveries(postgres) if row["webhook"].startswith("::1#"))
    assert away["delivered_at"] is None
    assert away["last_error"].startswith("upstream_")


async def other_turn(worker: Worker, receiver: Any) -> None:
    async with asyncio.timeout(20.0):
        while len(receiver.told) < 2:
            await worker.alerts.deliver()
            await asyncio.sleep(0.02)


async def test_an_alert_of_a_worker_that_died_before_delivering_it_is_delivered_by_another(
    postgres: Postgres, pool: Pool
) -> None:
    async with receiving() as receiver:
        webhook = Webhook(receiver.url, "json", KEY)
        alert_id = await one_alert(postgres, Worker(postgres, pool, QUICK, webhook))
        survivor = Worker(postgres, pool, QUICK, webhook)
        assert await survivor.alerts.check() == 0
        await survivor.deliver_all()
    assert receiver.ids == [alert_id]


async def test_a_worker_that_dies_while_delivering_leaves_it_to_another(postgres: Postgres, pool: Pool) -> None:
    options = AlertOptions(first_retry_s=0.05, claim_s=1.0)
    async with receiving(delay_s=0.2) as receiver:
        webhook = Webhook(receiver.url, "json", KEY)
        dying, survivor = (Worker(postgres, pool, options, webhook) for _ in range(2))
        alert_id = await one_alert(postgres, dying)
        sending = asyncio.create_task(dying.alerts.deliver())
        await receiver.has(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await survivor.alerts.deliver() == 0, "it is claimed yet"
        await asyncio.sleep(1.1)
        await survivor.deliver_all()
    assert receiver.ids == [alert_id] * 2
    (row,) = await deliveries(postgres)
    assert row["delivered_at"] is not None


async def test_a_delivery_is_claimed_by_one_of_two_workers_that_look_at_once(postgres: Postgres, pool: Pool) -> None:
    async with receiving() as receiver:
        webhook = Webhook(receiver.url, "json", KEY)
        first, second = (Worker(postgres, pool, QUICK, webhook) for _ in range(2))
        for _ in range(4):
            await add_period(postgres, await add_budget(postgres), 90 * USD)
        assert await first.alerts.check() == 8
        await slow_down(postgres, "UPDATE", "budget_alert_deliveries")
        assert sum(await asyncio.gather(first.alerts.deliver(), second.alerts.deliver())) == 8
    assert len(receiver.told) == len(set(receiver.ids)) == 8


async def test_two_workers_deliver_each_alert_once_between_them(postgres: Postgres, pool: Pool, tasks: Tasks) -> None:
    async with receiving(delay_s=0.02) as receiver:
        webhook = Webhook(receiver.url, "json", KEY)
        workers = [Worker(postgres, pool, QUICK, webhook) for _ in range(2)]
        for worker in workers:
            worker.alerts.open(tasks)
        for _ in range(15):
            await add_period(postgres, await add_budget(postgres), 90 * USD)
        await receiver.has(30)
        await asyncio.sleep(0.5)
    assert len(receiver.told) == len(set(receiver.ids)) == 30
    assert sum(worker.counted("threshold") for worker in workers) == 30
    assert all(row["delivered_at"] is not None for row in await deliveries(postgres))


async def test_an_alert_that_is_too_old_is_given_up(
    postgres: Postgres, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    options = AlertOptions(first_retry_s=0.05, longest_retry_s=0.2, give_up_s=1.0)
    async with receiving([503] * 1000) as receiver:
        worker = Worker(postgres, pool, options, Webhook(receiver.url, "json", KEY))
        await one_alert(postgres, worker)
        await worker.deliver_all(within_s=3.0)
        tries = len(receiver.told)
        assert 3 <= tries <= 20
        await worker.deliver_all(within_s=0.5)
        assert len(receiver.told) == tries
    (row,) = await deliveries(postgres)
    assert (row["delivered_at"], row["next_attempt_at"], row["last_error"]) == (None, None, "status 503")
    assert "does not get alert" in caplog.text


async def test_pauses_grow_up_to_a_longest_one(postgres: Postgres, pool: Pool) -> None:
    alerts = Worker(postgres, pool, AlertOptions()).alerts
    for attempts, pause_s in ((1, 5), (2, 10), (5, 80), (11, 3600), (5000, 3600)):
        found = [alerts._pause_s(attempts) for _ in range(50)]
        assert 0.75 * pause_s <= min(found) < max(found) <= 1.25 * pause_s


async def test_without_webhooks_nothing_is_queued_and_later_ones_hear_nothing_of_it(
    postgres: Postgres, pool: Pool
) -> None:
    async with receiving() as receiver:
        await one_alert(postgres, Worker(postgres, pool, QUICK))
        await Worker(postgres, pool, QUICK, Webhook(receiver.url, "json", KEY)).deliver_all()
        assert receiver.told == []
    assert await deliveries(postgres) == []


async def test_a_database_that_is_away_ends_nothing(postgres: Postgres, pool: Pool, tasks: Tasks) -> None:
    async with receiving() as receiver:
        worker = Worker(postgres, pool, QUICK, Webhook(receiver.url, "json", KEY))
        sql = worker.alerts._sql
        good = dict(sql)
        sql["raise"] = sql["claim"] = "SELECT pg_terminate_backend(pg_backend_pid())"
        worker.alerts.open(tasks)
        await add_period(postgres, await add_budget(postgres, thresholds=[80]), 80 * USD)
        await asyncio.sleep(2.5)
        sql.update(good)
        await receiver.has(1)


async def test_the_configurations_webhooks_are_used_and_their_secrets_read_from_where_they_are(
    postgres: Postgres, pool: Pool, tasks: Tasks
) -> None:
    async with receiving() as receiver:
        environ = {"HOOK_URL": receiver.url, "HOOK": "whsec_" + base64.b64encode(KEY).decode()}
        alerting = Alerting(postgres, pool, environ, tasks, Metrics.in_memory())
        declared = DeclaredWebhook(url=Secret.parse("env:HOOK_URL"), secret=Secret.parse("env:HOOK"))
        near = Security(allow_private_upstreams=("127.0.0.1",))
        alerting.prepare(Settings(alerts=Declared(webhooks=(declared,)), security=near))()
        await add_period(postgres, await add_budget(postgres, thresholds=[80]), 80 * USD)
        await receiver.has(1)
        verify(receiver.told[0])


async def test_a_webhook_inside_the_own_network_is_called_only_where_that_is_allowed(pool: Pool) -> None:
    async with receiving() as receiver:
        with pytest.raises(GatewayError, match=r"private|loopback|not allowed"):
            await PoolPost(pool, None, AddressRule())(receiver.url, [], b"{}")
        assert not receiver.told
        assert await PoolPost(pool, None, AddressRule.of(["127.0.0.1"]))(receiver.url, [], b"{}") == 200


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HOOK_URL": "https://host/"},
        {"HOOK_URL": "s3cret", "HOOK": "k" * 32},
        {"HOOK_URL": "https://host/", "HOOK": "s3cret"},
    ],
)
async def test_webhooks_that_cannot_be_used_are_refused(
    postgres: Postgres, pool: Pool, tasks: Tasks, environ: dict[str, str]
) -> None:
    alerting = Alerting(postgres, pool, environ, tasks, Metrics.in_memory())
    declared = DeclaredWebhook(url=Secret.parse("env:HOOK_URL"), secret=Secret.parse("env:HOOK"))
    with pytest.raises(SettingsError) as raised:
        alerting.prepare(Settings(alerts=Declared(webhooks=(declared,))))
    assert "s3cret" not in str(raised.value)
