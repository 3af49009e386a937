"""When a server counts as mute, by a loop's looks."""

from __future__ import annotations

import asyncio
import time

from gateway.services.quota.silence import Silence


async def test_who_does_not_answer_is_mute_until_it_does() -> None:
    silence = Silence(asyncio.get_running_loop(), mute_s=0.05)
    silence.begin()
    assert not silence.mute
    async with asyncio.timeout(10):
        while not silence.mute:
            await asyncio.sleep(0.005)
    silence.begin()
    assert silence.mute
    silence.end()
    assert not silence.mute


async def test_who_answers_in_time_is_not() -> None:
    silence = Silence(asyncio.get_running_loop(), mute_s=0.05)
    silence.begin()
    silence.end()
    await asyncio.sleep(0.2)
    assert not silence.mute


async def test_a_loop_that_was_busy_elsewhere_makes_nobody_mute() -> None:
    silence = Silence(asyncio.get_running_loop(), mute_s=0.05)
    silence.begin()
    time.sleep(0.3)
    await asyncio.sleep(0)  # now what came meanwhile is read
    assert not silence.mute
    silence.end()
