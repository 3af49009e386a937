"""A call that is answered once, however often it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from gateway.upstream.job import Reply, Sink

if TYPE_CHECKING:
    from gateway.pipeline.call import Call

Dispatch = Callable[["Call", Sink], Awaitable[Reply | None]]


class Once(Protocol):
    """Set on a call by the stage that found its `Idempotency-Key`; the pipeline asks it around dispatch.

    `replayed`: the answer is that of an earlier call.
    """

    replayed: bool

    async def send(self, call: Call, sink: Sink, dispatch: Dispatch) -> Reply | None:
        """What `dispatch` gives for the call, kept for those who send it again. Raises what it raises."""

    async def close(self, call: Call) -> None:
        """The call is over. Called exactly once, also where `send` was not; never raises GatewayError."""
