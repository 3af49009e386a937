"""Runs a call through the stages and to its upstream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.stage import Stage, check_stage, overrides
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Sink

_log = logging.getLogger("gateway.pipeline")

_Begin = Callable[[Call], Awaitable[Reply | None]]
_End = Callable[[Call], Awaitable[None]]


class Pipeline:
    """The stages in force, in order, and dispatch behind them. Raises TypeError for a stage with unknown hooks."""

    def __init__(self, stages: Sequence[Stage], dispatch: Dispatch) -> None:
        for stage in stages:
            check_stage(stage)
        self.stages = tuple(stages)
        self._dispatch = dispatch
        self._turns: list[tuple[_Begin | None, _End | None, Stage]] = [
            (
                stage.on_request if overrides(stage, "on_request") else None,
                stage.on_end if overrides(stage, "on_end") else None,
                stage,
            )
            for stage in stages
            if overrides(stage, "on_request") or overrides(stage, "on_end")
        ]
        self._watchers = [stage.on_chunk for stage in stages if overrides(stage, "on_chunk")]

    async def run(self, call: Call, sink: Sink) -> Reply | None:
        """The answer to `call`: a reply, or None where it was streamed into `sink`. Errors become replies."""
        begun = 0
        reply: Reply | None = None
        if self._watchers and call.stream:
            call.chunk_watcher = lambda data: self._watch(call, data)
        try:
            for begin, _, stage in self._turns:
                begun += 1
                if begin is not None:
                    reply = await self._begin(begin, stage, call)
                    if reply is not None:
                        break
            if reply is None:
                reply = await self._dispatch.run(call, sink)
            call.error = call.broken
        except GatewayError as error:
            call.error = error
        except asyncio.CancelledError:
            call.error = GatewayError("client_gone", "The client closed the connection.")
            call.status = 499
            raise
        except Exception:
            _log.exception("request %s failed", call.request_id)
            call.error = GatewayError("internal_error", "The gateway failed to handle this request.")
        finally:
            if reply is not None:
                call.status = reply.status
            elif call.error is not None and not call.status:
                call.status = call.error.status
            await self._end(call, begun)
        if reply is None and call.error is not None and call.broken is None:
            reply = render_error(call, call.error)
        elif reply is not None:
            call.add_headers(reply.headers)
        return reply

    async def _begin(self, begin: _Begin, stage: Stage, call: Call) -> Reply | None:
        if not stage.optional:
            return await begin(call)
        try:
            return await begin(call)
        except GatewayError:
            raise
        except Exception:
            _log.exception("optional stage %s failed and is passed over", stage.name)
            return None

    async def _end(self, call: Call, begun: int) -> None:
        """Close the stages whose turn had begun, last first; one that breaks does not keep the others from it."""
        for _, end, stage in reversed(self._turns[:begun]):
            if end is not None:
                try:
                    await end(call)
                except Exception:
                    _log.exception("stage %s failed to close its account of %s", stage.name, call.request_id)

    def _watch(self, call: Call, data: bytes) -> None:
        for look in self._watchers:
            look(call, data)


def render_error(call: Call, error: GatewayError) -> Reply:
    """A failure as OpenAI's clients expect it, with what they need to decide whether to try again."""
    headers = [(b"content-type", b"application/json")]
    call.add_headers(headers)
    headers.extend(retry_headers(error))
    return Reply(error.status, error.body(call.request_id), headers)


def retry_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """`retry-after` in whole seconds, rounded up, and OpenAI's `x-should-retry`."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % -(-error.retry_after_s // 1)))
        if error.retry_after_s > 60:
            headers.append((b"x-should-retry", b"false"))
            return headers
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    return headers
