"""Settings of governance that reach the parts which go by them, in a worker as it is assembled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from gateway.pipeline.call import Call
from gateway.pipeline.governor import Governor
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.services.budgets.losses import Losses
from gateway.store.embedded import StoreAddresses
from tests.fake_openai import FakeOpenAI
from tests.integration.passthrough.conftest import MASTER, Site, serving

Opens = Callable[[str], AbstractAsyncContextManager[Site]]
_HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def opens(tmp_path: Path, database_url: Mapping[str, Any], stores: StoreAddresses) -> AsyncIterator[Opens]:
    """Opens a worker with more YAML in its configuration."""
    async with FakeOpenAI().running() as provider:
        yield lambda more: serving(tmp_path, provider, database_url, stores, more)


async def ask(site: Site, key: str | None, **more: Any) -> tuple[int, Any]:
    document = {"model": "demo", "max_tokens": 5, "messages": _HELLO, **more}
    status, body, _ = await site.call("POST", "/v1/chat/completions", key, json=document)
    return status, body


def fill_journal(site: Site) -> None:
    """No record fits any more, and no file may be added."""
    journal = site.worker.ledger._journal
    journal._current.capacity = journal._current.written
    journal.bound._most_bytes = 0


async def test_users_are_hashed_and_tags_bounded_as_the_settings_say(opens: Opens) -> None:
    async with opens("reporting: {hash_users: true, max_distinct_tags: 1}") as site:
        assert (await ask(site, MASTER, user="ann", metadata={"tags": ["one", "two"]}))[0] == 200
        (row,) = await site.rows()
        assert len(bytes.fromhex(row["end_user"])) == 16
        assert row["tags"] == ["one", "other"]


async def test_a_full_journal_refuses_where_nothing_else_is_said(opens: Opens) -> None:
    async with opens("") as site:
        fill_journal(site)
        status, body = await ask(site, MASTER)
        assert (status, body["error"]["code"]) == (503, "journal_unavailable")
        assert site.worker.ledger.refused_attempts == 1


async def test_a_full_journal_drops_rows_where_that_is_said_but_none_of_a_hard_budget(opens: Opens) -> None:
    async with opens("ledger: {on_journal_full: drop}") as site:
        budget = {"limit_usd": 1, "period": "total"}
        made = (await site.call("POST", "/admin/keys", MASTER, json={"name": "t", "budget": budget}))[1]
        fill_journal(site)
        assert (await ask(site, MASTER))[0] == 200
        assert site.worker.ledger.dropped_rows == 1
        status, body = await ask(site, made["key"], model="gpt-4o-mini")
        assert (status, body["error"]["code"]) == (503, "journal_unavailable")
        assert site.worker.ledger.dropped_rows == 1


async def test_the_line_for_a_targets_limits_is_as_long_and_as_patient_as_the_settings_say(opens: Opens) -> None:
    async with opens("upstream: {queue_timeout_s: 3.5, queue_max_waiting: 2}") as site:
        admission = site.worker.dispatch.admission
        assert isinstance(admission, Governor)
        assert (admission._queues._timeout_s, admission._queues._max_waiting) == (3.5, 2)


async def test_lost_leases_are_given_up_after_as_many_hours_as_the_settings_say(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    async def watch(self: Losses, hours: int) -> None:
        given.append(hours)

    monkeypatch.setattr(Losses, "watch", watch)
    async with opens("ledger: {lost_lease_hours: 7}"):
        await asyncio.sleep(0)
    assert given == [7]


@pytest.mark.parametrize(("stages", "known"), [("{}", True), ("{check_budget: {enabled: false}}", False)])
async def test_what_is_left_of_budgets_is_told_where_they_are_kept(opens: Opens, stages: str, known: bool) -> None:
    async with opens(f"stages: {stages}") as site:
        budget = {"limit_usd": 1, "period": "total"}
        made = (await site.call("POST", "/admin/keys", MASTER, json={"name": "t", "budget": budget}))[1]
        left: list[int | None] = []
        find = ChooseRoute.on_request

        def look(self: ChooseRoute, call: Call) -> None:
            left.append(call.budget_left_nano_usd)
            find(self, call)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ChooseRoute, "on_request", look)
            site.worker.apply(site.worker.settings)
            assert (await ask(site, made["key"], model="demo"))[0] in (200, 400)
        assert left == [1_000_000_000 if known else None]
