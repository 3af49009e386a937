"""What befalls gateways and stores under load, and the load."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable

import redis

from tests.acceptance.auditing import Audit, audit
from tests.acceptance.governing import Clients, Site

Story = Callable[[Clients], Awaitable[None]]

_CLIENTS = 24
_PATIENCE_S = 60.0
_REFUSALS = 2000  # so many say that a budget is used up


def under_load(site: Site, story: Story, limit_nano: int) -> Audit:
    """Have clients ask while `story` happens, and until their budget is used up; then compare the books."""
    made = site.make_key(budget={"limit_usd": f"{limit_nano / 1e9:.9f}", "period": "total"})
    clients = Clients(
        site.ports(), made["key"], cut_share=0.1, stream_share=0.33, most_class=63, pause_s=0.25, read_timeout_s=15
    )

    async def run() -> None:
        told = asyncio.ensure_future(story(clients))
        over_at = 0.0

        def over() -> bool:
            nonlocal over_at
            if not told.done():
                return False
            over_at = over_at or time.monotonic() + _PATIENCE_S
            clients.pause_s = 0.0
            return clients.outcomes["429"] > _REFUSALS or time.monotonic() > over_at

        await clients.run(_CLIENTS, over)
        await told

    asyncio.run(run())
    return audit(site, clients, made["id"], limit_nano)


async def until_answered(clients: Clients) -> None:
    """Return when requests are answered again."""
    await asyncio.sleep(1.0)
    before, deadline = clients.outcomes["200"], time.monotonic() + 20
    while clients.outcomes["200"] < before + 50:
        assert time.monotonic() < deadline, clients.outcomes
        await asyncio.sleep(0.1)


async def kill_a_worker(site: Site) -> None:
    """kill -9 of one, at a random moment."""
    await asyncio.sleep(random.uniform(0.5, 1.5))
    workers = [worker for one in site.gateways for worker in one.workers()]
    random.choice(workers).kill()


async def kill_a_gateway(site: Site, number: int) -> None:
    """kill -9 of all its processes, at a random moment, and another one in its place."""
    await asyncio.sleep(random.uniform(0.5, 1.5))
    killed = site.gateways[number]
    processes = killed.descendants()
    killed.kill()
    for process in processes:
        process.kill()
    await asyncio.to_thread(site.start_gateway, number, killed.port)


async def stop_a_worker(site: Site, pause_s: float) -> None:
    """SIGSTOP of one, and SIGCONT after a while."""
    worker = site.gateways[0].workers()[0]
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(pause_s)
    worker.send_signal(signal.SIGCONT)


async def take_the_database_away(site: Site, pause_s: float) -> None:
    """Stop PostgreSQL, and start it after a while."""
    await site.postgres.stop()
    await asyncio.sleep(pause_s)
    await site.postgres.start()


async def restart_the_counters(site: Site) -> None:
    """Stop Valkey and start it on what it wrote down."""
    await site.valkey.stop()
    await asyncio.sleep(0.5)
    await site.valkey.start()


async def empty_the_counters(site: Site) -> None:
    """FLUSHALL."""

    def flush() -> None:
        client = redis.Redis.from_url(site.counters)
        client.flushall()
        client.close()

    await asyncio.to_thread(flush)
