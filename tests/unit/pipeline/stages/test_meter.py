"""What an attempt costs: by whom it was served, and as which service."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.stages.meter import Meter
from gateway.services.keys.key import Key
from gateway.services.ledger.entry import Entry
from gateway.services.prices.service import Prices
from gateway.upstream.job import Outcome
from gateway.wire.openai import CHAT
from gateway.wire.usage import Usage
from tests.unit.upstream.fakes import FakeLine, target, whole


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
    permit = await meter.admit(call, up, 1)
    outcome = Outcome(up, 1, usage=Usage(prompt=1000, completion=100), status=200)
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
