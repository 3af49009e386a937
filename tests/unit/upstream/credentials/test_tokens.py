"""One token, kept fresh: how often it is asked for, who waits, and what a failure means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.credentials.tokens import Token, TokenKeeper


class TokenServer:
    """Gives tokens one after the other, or fails; `now` is the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.lifetime_s = 3600.0
        self.failure: GatewayError | None = None
        self.gate: asyncio.Event | None = None

    async def obtain(self) -> Token:
        self.asked += 1
        number = self.asked
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Token(f"token-{number}", self.lifetime_s)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(1.0)


def keeper_of(server: TokenServer, tasks: Tasks) -> TokenKeeper:
    return TokenKeeper(server.obtain, tasks, name="Lab", clock=lambda: server.now)


async def value(keeper: TokenKeeper) -> str:
    ((name, line),) = await keeper.headers()
    assert name == b"authorization"
    return line.decode().removeprefix("Bearer ")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_token_is_asked_for_once_and_used_until_it_grows_old(tasks: Tasks) -> None:
    server = TokenServer()
    keeper = keeper_of(server, tasks)
    assert await value(keeper) == "token-1"
    server.now += 3299
    assert await value(keeper) == "token-1"
    await settle()
    assert server.asked == 1


async def test_requests_that_wait_share_one_call(tasks: Tasks) -> None:
    server = TokenServer()
    server.gate = asyncio.Event()
    keeper = keeper_of(server, tasks)
    waiting = [asyncio.ensure_future(value(keeper)) for _ in range(20)]
    await settle()
    server.gate.set()
    assert await asyncio.gather(*waiting) == ["token-1"] * 20
    assert server.asked == 1


async def test_a_request_that_is_cancelled_does_not_stop_the_call_for_the_others(tasks: Tasks) -> None:
    server = TokenServer()
    server.gate = asyncio.Event()
    keeper = keeper_of(server, tasks)
    first, second = asyncio.ensure_future(value(keeper)), asyncio.ensure_future(value(keeper))
    await settle()
    first.cancel()
    await settle()
    server.gate.set()
    assert await second == "token-1"
    assert first.cancelled()
    assert server.asked == 1


async def test_an_old_token_is_renewed_behind_the_requests(tasks: Tasks) -> None:
    server = TokenServer()
    keeper = keeper_of(server, tasks)
    await value(keeper)
    server.now += 3301
    server.gate = asyncio.Event()
    assert [await value(keeper) for _ in range(3)] == ["token-1"] * 3
    server.gate.set()
    await settle()
    assert await value(keeper) == "token-2"
    assert server.asked == 2


async def test_the_old_token_goes_on_while_a_renewal_fails_and_is_tried_again_after_a_pause(tasks: Tasks) -> None:
    server = TokenServer()
    keeper = keeper_of(server, tasks)
    await value(keeper)
    server.now += 3301
    server.failure = GatewayError("upstream_auth", "not now")
    assert await value(keeper) == "token-1"
    await settle()
    assert await value(keeper) == "token-1"
    await settle()
    assert server.asked == 2
    server.now += 11
    server.failure = None
    assert await value(keeper) == "token-1"
    await settle()
    assert await value(keeper) == "token-3"


async def test_without_a_token_that_holds_the_failure_is_every_requests_own(tasks: Tasks) -> None:
    server = TokenServer()
    server.failure = GatewayError("upstream_auth", "Lab said no")
    keeper = keeper_of(server, tasks)
    errors = await asyncio.gather(value(keeper), value(keeper), return_exceptions=True)
    assert [str(error) for error in errors] == ["Lab said no"] * 2
    assert errors[0] is not errors[1]
    assert server.asked == 1
    server.failure = None
    assert await value(keeper) == "token-2"


async def test_an_expired_token_is_never_used(tasks: Tasks) -> None:
    server = TokenServer()
    keeper = keeper_of(server, tasks)
    await value(keeper)
    server.failure = GatewayError("upstream_auth", "Lab said no")
    server.now += 3571
    with pytest.raises(GatewayError, match="Lab said no"):
        await value(keeper)


async def test_a_short_life_is_renewed_in_its_last_fifth(tasks: Tasks) -> None:
    server = TokenServer()
    server.lifetime_s = 10
    keeper = keeper_of(server, tasks)
    await value(keeper)
    server.now += 7.9
    await value(keeper)
    await settle()
    assert server.asked == 1
    server.now += 0.2
    assert await value(keeper) == "token-1"
    await settle()
    assert await value(keeper) == "token-2"


@pytest.mark.parametrize(
    "token", [Token("", 3600), Token("a", 0), Token("a", -5), Token("a\r\nx: y", 3600), Token("tökén", 3600)]
)
async def test_a_token_of_no_use_is_refused(tasks: Tasks, token: Token) -> None:
    async def obtain() -> Token:
        return token

    with pytest.raises(GatewayError) as raised:
        await TokenKeeper(obtain, tasks, name="Lab").headers()
    assert raised.value.code == "upstream_auth"


async def test_a_shutdown_in_the_middle_of_a_call_is_an_error_and_no_hang(tasks: Tasks) -> None:
    server = TokenServer()
    server.gate = asyncio.Event()
    keeper = keeper_of(server, tasks)
    waiting = asyncio.ensure_future(value(keeper))
    await settle()
    await tasks.drain(0.0)
    with pytest.raises(GatewayError, match="No token for Lab"):
        await waiting
