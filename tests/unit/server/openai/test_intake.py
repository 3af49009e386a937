"""Where a request for a response goes: providers that have responses, and where they have them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.references import owner_of, targets_near
from gateway.server.openai.intake import Intake, Plan, ResponsesRule, set_path
from gateway.services.keys.key import Key
from gateway.upstream.connection import Limits
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.target import Account, Manner, Target
from gateway.wire.openai_operations import RESPONSES

KEY = Key(None, "master", is_master=True)
_LIMITS = Limits(connect_s=5, first_byte_s=30, idle_s=30, total_s=60)


def target(type: str, place: str = "", *, local: bool = False) -> Target:
    line: Any = None
    account = Account(
        name=f"{type}-{place or 'usual'}",
        type=type,
        base_url="http://127.0.0.1/base",
        base_path="/base",
        host=b"127.0.0.1",
        headers={},
        line=line,
        limits=_LIMITS,
        manner=Manner(paths={"responses": place} if place else {}),
        local=local,
    )
    return Target(account, "m", Breaker(BreakerOptions(), time.monotonic), _LIMITS)


NATIVE, ELSEWHERE, CHAT, DEMO = (
    target("openai"),
    target("openai", "/v1/answers"),
    target("x"),
    target("demo", local=True),
)


async def choose(*targets: Target, here: bool = False, **fields: Any) -> tuple[Call, Plan]:
    class Routes:
        def on_request(self, call: Call) -> None:
            call.targets = targets

    async def goes_on_here(key: Key, document: Any) -> bool:
        return here

    none: Any = None
    routes: Any = Routes()
    rule = ResponsesRule({"openai", "demo"}, goes_on_here)
    intake = Intake(none, routes, none, none, none, none, rule)
    call = Call(RESPONSES, {}, b"", "127.0.0.1")
    plan = Plan(KEY, owner_of(KEY), "/responses?a=b")
    await intake._choose_for_response(call, plan, {"model": "m", "input": "x", **fields})
    return call, plan


@pytest.mark.parametrize(
    ("targets", "left"),
    [
        ((NATIVE,), [NATIVE]),
        ((NATIVE, CHAT, NATIVE), [NATIVE, NATIVE]),
        ((NATIVE, CHAT, ELSEWHERE), [NATIVE, ELSEWHERE]),
        ((CHAT, NATIVE), None),
        ((DEMO, NATIVE), None),
        ((CHAT,), None),
    ],
)
async def test_the_first_target_decides(targets: tuple[Target, ...], left: list[Target] | None) -> None:
    call, plan = await choose(*targets)
    assert plan.translated is (left is None)
    assert list(call.targets) == (list(targets) if left is None else left)


async def test_a_response_that_is_gone_on_from_decides_before_it() -> None:
    call, plan = await choose(CHAT, NATIVE, previous_response_id="resp_1")
    assert (plan.translated, call.targets) == (False, [NATIVE])
    assert (await choose(NATIVE, previous_response_id="resp_1", here=True))[1].translated
    assert (await choose(CHAT, previous_response_id="resp_1"))[1].translated


def test_objects_at_a_provider_leave_its_targets_alone() -> None:
    call = Call(RESPONSES, {}, b"", "127.0.0.1")
    call.targets = [NATIVE, CHAT]
    assert targets_near(call, set()) == [NATIVE, CHAT]
    assert targets_near(call, {CHAT.provider}) == [CHAT]
    with pytest.raises(GatewayError) as raised:
        targets_near(call, {"elsewhere"})
    assert raised.value.code == "no_provider"


def test_responses_may_stand_elsewhere_than_below_the_base_url() -> None:
    plan = Plan(KEY, owner_of(KEY), "/responses/resp_1?a=b")
    set_path(plan, NATIVE)
    assert plan.path == "/responses/resp_1?a=b"
    set_path(plan, ELSEWHERE)
    assert plan.path == "/v1/answers/resp_1?a=b"
