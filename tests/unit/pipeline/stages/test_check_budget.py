"""Who pays, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.check_budget import CheckBudget
from gateway.services.keys.key import Key
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import MESSAGES
from gateway.wire.openai import CHAT
from tests.unit.pipeline.test_purse import Bench, budget


def call(endpoint: Endpoint = CHAT, **fields: Any) -> Call:
    made = Call(endpoint, {}, b"", "127.0.0.1")
    made.key, made.asked_model, made.model, made.document = Key(id="k1", name="app"), "alias", "m", fields
    return made


async def test_a_models_budget_is_found_by_the_models_own_name() -> None:
    bench = Bench(budget("model", "m"), budget("model", "alias"))
    one = call()
    await take_turn(CheckBudget(bench.purse), one)
    assert [pot.budget.subject for pot in one.pots] == ["m"]
    assert one.governed is not None
    assert one.budget_left_nano_usd == 1050


async def test_a_request_that_nobody_pays_for_carries_nothing() -> None:
    one = call(user="ann")
    await take_turn(CheckBudget(Bench().purse), one)
    assert one.pots == ()
    assert one.governed is None
    assert one.budget_left_nano_usd is None


@pytest.mark.parametrize(
    ("endpoint", "fields", "end_users"),
    [
        (CHAT, {"user": "ann"}, ["ann"]),
        (MESSAGES, {"metadata": {"user_id": "ben"}}, ["ben"]),
        (CHAT, {}, []),
        (CHAT, {"user": ""}, []),
    ],
)
async def test_an_end_user_has_its_own_period(endpoint: Endpoint, fields: Any, end_users: list[str]) -> None:
    bench = Bench(budget("end_user", "k1"))
    one = call(endpoint, **fields)
    await take_turn(CheckBudget(bench.purse), one)
    assert [pot.period.end_user for pot in one.pots] == end_users


@pytest.mark.parametrize("user", [7, "x" * 300, "a\0b", ["ann"]])
async def test_an_end_user_that_is_none_is_refused_where_it_has_a_budget_only(user: Any) -> None:
    bench = Bench(budget("end_user", "k1"))
    with pytest.raises(GatewayError, match="`user`"):
        await take_turn(CheckBudget(bench.purse), call(user=user))
    await take_turn(CheckBudget(Bench(budget()).purse), call(user=user))
