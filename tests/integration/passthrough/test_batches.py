"""What a batch cost is in the ledger once, when it has ended, and it is its maker's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import asyncpg
import orjson
import pytest
from aiohttp import web

from gateway.errors import GatewayError
from gateway.services.batches.service import Batches
from gateway.services.prices.service import Prices
from gateway.store.postgres import Postgres
from gateway.wire.usage import Usage
from tests.fake_openai import FakeOpenAI, fail
from tests.fake_openai_answers import SEEN, json_response
from tests.integration.passthrough.conftest import MASTER, Site
from tests.integration.passthrough.test_ownership import make_file

OFTEN = "batches: {poll_interval_s: 0.1}"
SELDOM = "batches: {poll_interval_s: 3600}"
USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens": 100,
    "output_tokens_details": {"reasoning_tokens": 30},
    "total_tokens": 1100,
}


class BatchProvider(FakeOpenAI):
    """Batches that run until the test ends them. `asked` counts what was asked about them by id, `busy` by how many."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.busy = self.most_busy = 0

    async def _make_batch(self, request: web.Request) -> web.Response:
        made = {"id": self._id("batch_"), "object": "batch", "created_at": 1, **request[SEEN].json}
        self.objects["batch"][made["id"]] = made = {**made, "status": "validating", "output_file_id": None}
        return json_response(made)

    async def _show(self, request: web.Request, kind: str) -> web.Response:
        if kind == "batch":
            self.asked.append(request.match_info["id"])
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            await asyncio.sleep(self.pause_s)
            self.busy -= 1
        return await super()._show(request, kind)

    def end(self, batch_id: str, status: str = "completed", output: bytes | None = None, **fields: Any) -> None:
        if output is not None:
            fields["output_file_id"] = self._new_file("output.jsonl", len(output), "batch_output", output)["id"]
        self.objects["batch"][batch_id] |= {"status": status, **fields}


@pytest.fixture
async def provider() -> AsyncIterator[BatchProvider]:
    async with BatchProvider().running() as running:
        assert isinstance(running, BatchProvider)
        yield running


async def make_batch(site: Site, key: str) -> str:
    body = {"input_file_id": await make_file(site, key), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    status, made, _ = await site.call("POST", "/v1/batches", key, json=body)
    assert status == 200, made
    batch_id: str = made["id"]
    return batch_id


async def costs(site: Site) -> list[dict[str, Any]]:
    """The ledger's rows but for those of the making."""
    own = await site.worker.postgres.fetch("SELECT id FROM gateway_batches")
    ids = {row["id"] for row in own}
    return [row for row in await site.rows() if row["request_id"] in ids]


async def metered(site: Site, batches: int = 1) -> list[dict[str, Any]]:
    """The rows of cost, once so many batches are done with."""
    async with asyncio.timeout(20):
        query = "SELECT count(*) FROM gateway_batches WHERE metered_at IS NOT NULL"
        while await site.worker.postgres.fetchval(query) < batches:
            await asyncio.sleep(0.02)
    return await costs(site)


def line(model: str, prompt: int, answer: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    response = {"status_code": 200, "body": {"model": model, "usage": usage}}
    return orjson.dumps({"custom_id": "1", "response": response, "error": None}) + b"\n"


def batch_cost(model: str, usage: Usage) -> int:
    price = Prices.load({}).find("openai", model)
    assert price is not None
    batch = price.for_service("batch")
    assert batch != price
    return batch.cost_nano_usd(usage)


async def test_a_batch_that_has_ended_is_metered_once_at_the_batch_price(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        key = await site.key("red", user="ann")
        batch_id = await make_batch(site, key)
        while len(site.provider.asked) < 2:
            await asyncio.sleep(0.02)
        assert await costs(site) == []
        site.provider.end(batch_id, model="gpt-4o-mini-2024-07-18", usage=USAGE)
        (row,) = await metered(site)
        usage = Usage(prompt=1000, completion=100, cached=200, reasoning=30)
        assert row["cost_nano_usd"] == batch_cost("gpt-4o-mini", usage) > 0
        assert (row["input_tokens"], row["output_tokens"]) == (1000, 100)
        assert (row["cached_tokens"], row["reasoning_tokens"]) == (200, 30)
        assert (row["endpoint"], row["provider_name"], row["target_model"]) == (
            "batches",
            "lab",
            "gpt-4o-mini-2024-07-18",
        )
        assert (row["final"], row["estimated"], row["outcome"], row["attempt"]) == (True, False, "ok", 1)
        made = await site.worker.keys.find(key)
        owner = [made.id, made.team_id, made.user_id]
        assert None not in owner
        assert [str(row[name]) for name in ("key_id", "team_id", "user_id")] == owner
        # It is asked for no more, and whoever looks at it again changes nothing.
        asked = len(site.provider.asked)
        for _ in range(3):
            await site.call("GET", f"/v1/batches/{batch_id}", key)
        await asyncio.sleep(0.5)
        assert len(site.provider.asked) == asked + 3
        assert await costs(site) == [row]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/batches/{}"), ("GET", "/v1/batches"), ("POST", "/v1/batches/{}/cancel")]
)
async def test_whoever_sees_its_end_has_it_metered_at_once(site_with: Any, method: str, path: str) -> None:
    async with site_with(SELDOM) as site:
        red = await site.key("red")
        batch_id = await make_batch(site, red)
        assert (await site.call("GET", f"/v1/batches/{batch_id}", red))[1]["status"] == "validating"
        site.provider.end(batch_id, "cancelled", model="gpt-4o-mini", usage=USAGE)
        if method == "POST":
            site.provider.faults.append(partial(_cancelled, site.provider))
        assert (await site.call(method, path.format(batch_id), await site.key("red")))[0] == 200
        (row,) = await metered(site)
        assert str(row["key_id"]) == (await site.worker.keys.find(red)).id  # the maker, not the reader


async def _cancelled(provider: FakeOpenAI, request: web.Request) -> web.StreamResponse:
    return json_response(provider.objects["batch"][request.match_info["id"]])


async def test_without_usage_the_output_files_lines_are_added_up_by_model(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        failed = b'{"response": {"status_code": 500, "body": {"error": {}}}}\n'
        output = line("gpt-4o-mini", 10, 1) * 500 + failed + line("gpt-4o", 7, 3) + line("gpt-4o-mini", 0, 5)
        site.provider.end(batch_id, "expired", output)
        first, second = await metered(site)
        assert first["request_id"] == second["request_id"]
        assert [first["final"], second["final"]] == [True, False]
        assert (first["input_tokens"], first["output_tokens"]) == (5000, 505)
        assert first["cost_nano_usd"] == batch_cost("gpt-4o-mini", Usage(5000, 505))
        assert (second["target_model"], second["cost_nano_usd"]) == ("gpt-4o", batch_cost("gpt-4o", Usage(7, 3)))


async def test_a_sum_is_not_priced_as_if_it_were_one_long_prompt(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        lines = line("gpt-5.4", 200_000, 0) * 3 + line("gpt-5.4", 300_000, 0)
        usage = {"input_tokens": 900_000, "output_tokens": 0, "total_tokens": 900_000}
        site.provider.end(batch_id, output=lines, model="gpt-5.4", usage=usage)
        rows = await metered(site)
        short = batch_cost("gpt-5.4", Usage(200_000))
        assert [row["cost_nano_usd"] for row in rows] == [3 * short, batch_cost("gpt-5.4", Usage(300_000))]
        assert rows[1]["cost_nano_usd"] == 3 * short  # half as many tokens at twice the price


async def test_usage_that_cannot_be_found_is_a_row_without_cost_and_a_log_line(
    site_with: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        with caplog.at_level(logging.WARNING, logger="gateway.batches"):
            logging.getLogger().addHandler(caplog.handler)
            site.provider.end(batch_id, output_file_id="file-gone", model="gpt-4o-mini")
            (row,) = await metered(site)
        assert (row["cost_nano_usd"], row["estimated"], row["target_model"]) == (0, True, "gpt-4o-mini")
        assert f"what the batch {batch_id} at lab used cannot be found: its output file is gone" in caplog.text


async def test_a_batch_that_failed_before_it_ran_cost_nothing_and_that_is_certain(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        site.provider.end(await make_batch(site, await site.key("red")), "failed")
        (row,) = await metered(site)
        assert (row["cost_nano_usd"], row["input_tokens"], row["estimated"]) == (0, 0, False)


async def test_a_provider_in_trouble_is_asked_again_until_it_answers(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        output = line("gpt-4o-mini", 10, 1)
        site.provider.end(batch_id, output=output)
        site.provider.faults.extend([fail(500), fail(503), fail(500)])
        (row,) = await metered(site)
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 1, False)
        assert not site.provider.faults


async def test_a_batch_that_its_provider_denies_counts_as_gone_only_after_a_week(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        await make_batch(site, await site.key("red"))
        del site.provider.objects["batch"][batch_id]
        postgres = site.worker.postgres
        while (await postgres.fetchval("SELECT count(*) FROM gateway_batches WHERE missing_since IS NOT NULL")) < 1:
            await asyncio.sleep(0.02)
        assert await costs(site) == []
        await postgres.execute("UPDATE gateway_batches SET missing_since = missing_since - interval '8 days'")
        (row,) = await metered(site)
        assert (row["cost_nano_usd"], row["estimated"]) == (0, True)


async def test_two_gateways_meter_many_batches_once_each_and_never_ask_at_the_same_time(site_with: Any) -> None:
    async with site_with(OFTEN) as site, site_with(OFTEN, "other") as other:
        key = await site.key("red")
        site.provider.pause_s = 0.05
        batches = [await make_batch(site, key) for _ in range(6)]
        for batch_id in batches:
            site.provider.end(batch_id, model="gpt-4o-mini", usage=USAGE)
        await metered(site, 6)
        assert await other.worker.ledger.flush(10)
        rows = await costs(site)
        assert len({row["request_id"] for row in rows}) == len(rows) == 6
        await asyncio.sleep(0.3)
        assert len(await costs(site)) == 6
        site.provider.asked.clear()
        await make_batch(site, key)
        site.provider.most_busy = 0
        while len(site.provider.asked) < 5:
            await asyncio.sleep(0.02)
        assert site.provider.most_busy == 1


async def test_a_worker_that_dies_before_the_last_step_leaves_a_row_that_is_not_counted_again(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        batch_id = await make_batch(site, await site.key("red"))
        site.provider.end(batch_id, output=line("gpt-4o-mini", 10, 1) + line("gpt-4o", 10, 1))
        before = await metered(site)
        assert len(before) == 2
        # As if it had been killed between writing the rows and closing the account, and the file had gone meanwhile.
        site.provider.end(batch_id, output_file_id="file-gone", model="gpt-4o", usage=USAGE)
        await site.worker.postgres.execute("UPDATE gateway_batches SET metered_at = NULL, ask_at = now()")
        assert await metered(site) == before


async def test_a_price_that_is_declared_for_a_target_holds_for_its_batches(site_with: Any) -> None:
    async with site_with(OFTEN) as site:
        price = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
        model = {"name": "house", "targets": [{"provider": "lab", "model": "house-7b", "price": price}]}
        status, made, _ = await site.call("POST", "/admin/models", MASTER, json=model)
        assert (status, made["targets"][0]["price"]) == (201, price)
        batch_id = await make_batch(site, await site.key("red"))
        site.provider.end(batch_id, model="house-7b", usage=USAGE)
        (row,) = await metered(site)
        assert row["cost_nano_usd"] == 1000 * 1000 + 100 * 2000


async def test_what_the_master_key_only_looked_at_is_not_metered(site_with: Any) -> None:
    async with site_with(SELDOM) as site:
        site.provider.objects["batch"]["batch_x"] = {"id": "batch_x", "object": "batch", "status": "completed"}
        assert (await site.call("GET", "/v1/batches/batch_x", MASTER))[0] == 200
        assert await site.worker.postgres.fetchval("SELECT count(*) FROM gateway_batches") == 0


async def test_nothing_is_recorded_while_metering_is_off(site_with: Any) -> None:
    off = ", ".join(f"{name}: {{enabled: false}}" for name in ("meter", "admit", "limit_rate", "check_budget"))
    async with site_with(f"{OFTEN}\nstages: {{{off}}}") as site:
        await make_batch(site, await site.key("red"))
        assert await site.worker.postgres.fetchval("SELECT count(*) FROM gateway_batches") == 0


async def test_batches_from_before_the_table_was_there_are_taken_over(database_url: Mapping[str, Any]) -> None:
    connection = await asyncpg.connect(**database_url)
    try:
        team = await connection.fetchval("INSERT INTO teams (name) VALUES ('red') RETURNING id")
        await connection.execute(
            "INSERT INTO gateway_objects (kind, object_id, provider, team_id) VALUES"
            " ('batch', 'batch_1', 'lab', $1), ('file', 'file-1', 'lab', $1), ('batch', 'batch_2', 'lab', NULL)",
            team,
        )
        text = (Path(__file__).parents[3] / "gateway/store/migrations/0008_batches.sql").read_text()
        await connection.execute("DROP TABLE gateway_batches")
        await connection.execute(text)
        rows = await connection.fetch("SELECT batch_id, team_id, ask_at <= now() AS due FROM gateway_batches")
        assert [tuple(row) for row in rows] == [("batch_1", team, True)]
    finally:
        await connection.close()


async def test_a_batch_that_cannot_be_recorded_is_named_in_the_log(
    database_url: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    postgres = await Postgres.open(database_url)
    batches = Batches(postgres, cast(Any, None), cast(Any, None), interval_s=lambda: 60.0)
    await postgres.close()
    document = {"id": "batch_9", "status": "completed"}
    with pytest.raises(GatewayError) as raised:
        await batches.record("lab", document, None, key_id=None, team_id=None, user_id=None)
    assert raised.value.code == "store_unavailable"
    assert "the batch batch_9 at lab was made but cannot be recorded" in caplog.text
    await batches.seen("lab", document)  # an answer to a client does not depend on it
