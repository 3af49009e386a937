"""What an attempt costs: by whom it was served, and as which service."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.stages.meter import Meter
from gateway.providers.price import PriceOverride
from gateway.services.catalogue.row_ids import RowIds
from gateway.services.keys.key import Key
from gateway.services.ledger.entry import Entry
from gateway.services.prices.service import Prices
from gateway.settings import Model
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.passages import Passages
from gateway.upstream.retries import RetryBudget, RetryOptions
from gateway.upstream.target import Manner
from gateway.wire.bedrock import DIALECT as BEDROCK
from gateway.wire.cohere import DIALECT as COHERE
from gateway.wire.dialect import Dialect
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import RERANK
from gateway.wire.huggingface import DIALECT as HUGGINGFACE
from gateway.wire.openai import CHAT, EMBEDDINGS
from gateway.wire.palm import DIALECT as PALM
from gateway.wire.usage import Usage
from tests.unit.upstream.fakes import JSON, Clock, FakeLine, FakeSink, FakeWatcher, Script, fails, target, whole
from tests.unit.upstream.fakes import outcome as outcome_of


class FakeLedger:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.ended: list[Entry] = []

    def start(self, entry: Entry) -> None:
        self.started.append((entry.expected_prompt, entry.cost_nano_usd))

    def end(self, entry: Entry) -> None:
        self.ended.append(entry)


async def cost(**fields: Any) -> tuple[FakeLedger, Call]:
    """One attempt at gpt-5-mini with 1,000 prompt and 100 completion tokens."""
    ledger = FakeLedger()
    meter = Meter(ledger, Prices.load({}), Metrics.in_memory())  # type: ignore[arg-type]
    call = Call(CHAT, {}, b"x" * 400, "127.0.0.1")
    call.key = Key(id=None, name="k")
    call.asked_model = "mini"
    call.document = {"model": "mini", **fields}
    call.body = orjson.dumps(call.document).ljust(400)
    up = target(FakeLine(whole()), model="gpt-5-mini")
    permit = meter.admit(call, up, 1)
    outcome = outcome_of(up, usage=Usage(prompt=1000, completion=100), status=200)
    meter.close(call, permit, outcome)
    return ledger, call


async def test_an_attempt_costs_what_the_price_map_says_and_its_start_what_the_prompt_may() -> None:
    ledger, call = await cost()
    price = Prices.load({}).find("openai", "gpt-5-mini")
    assert price is not None
    assert ledger.ended[0].cost_nano_usd == price.cost_nano_usd(Usage(prompt=1000, completion=100))
    assert call.cost_nano_usd == ledger.ended[0].cost_nano_usd
    assert ledger.started == [(100, price.cost_nano_usd(Usage(prompt=100)))]


@pytest.mark.parametrize(("tier", "times"), [("flex", 0.5), ("priority", 1.8), ("default", 1), ("auto", 1), (7, 1)])
async def test_flex_and_priority_have_their_own_prices(tier: object, times: float) -> None:
    plain, _ = await cost()
    other, _ = await cost(service_tier=tier)
    assert other.ended[0].cost_nano_usd == pytest.approx(plain.ended[0].cost_nano_usd * times, rel=0.02)


# --- whole answers, sent and read as dispatch does it ---------------------------------------------


async def metered(dialect: Dialect, endpoint: Endpoint, model: str, script: Script, **fields: Any) -> FakeLedger:
    """What the ledger was told of one request; 2 USD for a thousand searches, 1 USD for a million tokens."""
    ledger = FakeLedger()
    prices = Prices.load({("", f"p/{model}"): PriceOverride(1_000_000, 0, search_unit=2_000_000_000)})
    meter = Meter(ledger, prices, Metrics.in_memory())  # type: ignore[arg-type]
    options = RetryOptions(attempts=1)
    watcher = FakeWatcher()
    dispatch = Dispatch(
        meter, options, RetryBudget(options, Clock()), watcher, random.Random(1), Passages(fetch_nothing)
    )
    call = Call(endpoint, {}, b"x" * 400, "127.0.0.1")
    call.key = Key(id=None, name="k")
    call.request_id = "0198c0de-0000-7000-8000-000000000001"
    call.asked_model = "priced"
    call.document = {"model": "priced", **fields}
    call.body = orjson.dumps(call.document).ljust(400)
    call.targets = [target(FakeLine(script), model=model, manner=Manner(dialect=dialect))]
    with contextlib.suppress(GatewayError):
        await dispatch.run(call, FakeSink(None))  # type: ignore[arg-type]
    return ledger


async def fetch_nothing(url: str) -> tuple[str, bytes]:
    raise AssertionError(url)


def answered(document: Any, *headers: tuple[bytes, bytes]) -> Script:
    return Script(headers=[*JSON, *headers], reads=[orjson.dumps(document)])


RANKED = {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}]}
MANY = ["a"] * 201


@pytest.mark.shows("cohere", "usage")
async def test_a_rerank_costs_the_search_units_that_the_provider_bills() -> None:
    script = answered({**RANKED, "meta": {"billed_units": {"search_units": 5}}})
    ledger = await metered(COHERE, RERANK, "rerank-v3.5", script, query="q", documents=MANY)
    (entry,) = ledger.ended
    assert entry.usage == Usage(search_units=5)
    assert entry.cost_nano_usd == 10_000_000
    ((prompt, reserved),) = ledger.started
    assert reserved == prompt * 1000 + 3 * 2_000_000


async def test_a_rerank_that_tells_no_usage_is_estimated_at_a_search_unit_for_each_hundred_documents() -> None:
    ledger = await metered(COHERE, RERANK, "rerank-v3.5", answered(RANKED), query="q", documents=MANY)
    (entry,) = ledger.ended
    assert entry.usage is not None
    assert (entry.usage.search_units, entry.usage.estimated) == (3, True)


async def test_a_rerank_that_was_refused_used_no_search_unit() -> None:
    script = fails(400, {"message": "no"})
    ledger = await metered(COHERE, RERANK, "rerank-v3.5", script, query="q", documents=MANY)
    assert [(entry.usage, entry.cost_nano_usd) for entry in ledger.ended] == [(Usage(), 0)]


@pytest.mark.shows("bedrock", "usage")
async def test_what_is_counted_in_a_header_is_no_estimate() -> None:
    script = answered({"embeddings": [[0.5]]}, (b"x-amzn-bedrock-input-token-count", b"8"))
    ledger = await metered(BEDROCK, EMBEDDINGS, "cohere.embed-english-v3", script, input=["one two"])
    (entry,) = ledger.ended
    assert entry.usage == Usage(8)
    assert entry.cost_nano_usd == 8000


@pytest.mark.parametrize(
    ("dialect", "model", "answer"),
    [
        (HUGGINGFACE, "BAAI/bge-small-en-v1.5", [[0.5, 0.25]]),
        (PALM, "embedding-gecko-001", {"embedding": {"value": [0.5]}}),
        (BEDROCK, "cohere.embed-english-v3", {"embeddings": [[0.5]]}),
    ],
)
async def test_embeddings_without_a_count_of_tokens_are_marked_as_estimated(
    dialect: Dialect, model: str, answer: Any
) -> None:
    ledger = await metered(dialect, EMBEDDINGS, model, answered(answer), input=["one two three four"])
    (entry,) = ledger.ended
    assert entry.outcome == "ok"
    assert entry.usage is not None
    assert entry.usage.estimated
    assert entry.usage.prompt > 0
    assert entry.cost_nano_usd == entry.usage.prompt * 1000


# --- whose rows are meant -------------------------------------------------------------------------


async def test_an_attempt_names_the_rows_of_its_provider_and_model_by_any_name_of_the_model() -> None:
    provider, model = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
    declared = Model.model_validate({"name": "mini", "aliases": ["m"], "targets": [{"provider": "p", "model": "x"}]})
    ids = RowIds({"p": provider}, {"mini": model}).with_aliases([declared])
    meter = Meter(FakeLedger(), Prices.load({}), Metrics.in_memory())  # type: ignore[arg-type]
    up = target(FakeLine(whole()), model="gpt-5-mini")

    async def named(asked: str) -> list[str]:
        call = Call(CHAT, {}, b"", "127.0.0.1")
        call.key = Key(id=None, name="k")
        call.asked_model, call.document = asked, {}
        _, entry, _ = meter.admit(call, up, 1)
        return entry.scope.split("\t")[3:5]

    assert await named("mini") == [r"\N", r"\N"]
    meter.use(meter.prices, ids)
    assert [await named(asked) for asked in ("mini", "m")] == [[provider, model]] * 2
    assert await named("p/gpt-5-mini") == [provider, r"\N"]
