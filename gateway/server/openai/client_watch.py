"""Noticing that a client has gone although nobody reads from it: an upload waits for a slow provider.

A reset is seen at once, an orderly end as soon as the kernel has room for what the client sent before it; until
then nobody can see it, and the provider's own silence ends the upload (`upstream.idle_timeout_s`).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.tasks import Tasks

_LOOK_EVERY_S = 0.05
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


@contextlib.asynccontextmanager
async def watching(request: web.BaseRequest, tasks: Tasks) -> AsyncIterator[None]:
    """Cancel the current task as soon as the client has closed its end, also while its bytes are not read."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    working = asyncio.current_task()
    if sock is None or working is None:
        yield
        return
    poll = select.poll()
    poll.register(sock.fileno(), _GONE)
    watch = tasks.spawn(_watch(poll, working), name="watch the client")
    try:
        yield
    finally:
        watch.cancel()


async def _watch(poll: select.poll, working: asyncio.Task[object]) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if poll.poll(0):
            working.cancel()
            return
