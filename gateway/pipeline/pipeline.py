"""Runs a call through the stages and to its upstream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.purse import Purse
from gateway.pipeline.stage import Stage, Turn, check_stage, overrides, take_turn
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Sink

_log = logging.getLogger("gateway.pipeline")

_Begin = Callable[[Call], Turn]
_End = Callable[[Call], Awaitable[None]]


class Pipeline:
    """The stages in force, in order, and dispatch behind them; `purse` where budgets are kept. Raises TypeError for a
    stage with unknown hooks."""

    def __init__(self, stages: Sequence[Stage], dispatch: Dispatch, purse: Purse | None = None) -> None:
        for stage in stages:
            check_stage(stage)
        self.stages = tuple(stages)
        self._by_name = {stage.name: stage for stage in stages}
        self._dispatch = dispatch
        self._purse = purse
        self._turns: list[tuple[_Begin | None, _End | None, Stage]] = [
            (
                _begin_of(stage) if overrides(stage, "on_request") else None,
                stage.on_end if overrides(stage, "on_end") else None,
                stage,
            )
            for stage in stages
            if overrides(stage, "on_request") or overrides(stage, "on_end")
        ]
        self._has_ends = any(end is not None for _, end, _ in self._turns)
        self._watchers = [(stage.on_chunk, stage) for stage in stages if overrides(stage, "on_chunk")]

    def stage(self, name: str) -> Stage | None:
        """The stage of that name, if it is in force."""
        return self._by_name.get(name)

    async def run(self, call: Call, sink: Sink) -> Reply | None:
        """The answer to `call`: a reply, or None where it was streamed into `sink`. Errors become replies."""
        begun = 0
        reply: Reply | None = None
        cancelled: asyncio.CancelledError | None = None
        call.purse, call.waited = self._purse, False
        if self._watchers:
            self._attach_watchers(call)
        try:
            for begin, _, _ in self._turns:
                begun += 1
                turn = None if begin is None else begin(call)
                if turn is not None:
                    answer = turn if isinstance(turn, Reply) else await _waited(call, turn)
                    if answer is not None:  # headers are added to it: not to a stage's own
                        reply = Reply(answer.status, answer.body, list(answer.headers))
                        break
            if reply is None:
                once, run = call.once, self._dispatch.run
                reply = await (run(call, sink) if once is None else once.send(call, sink, run))
            call.error = call.broken
        except GatewayError as error:
            call.error = error
        except asyncio.CancelledError as gone:
            call.error = GatewayError("client_gone", "The client closed the connection.")
            call.status = 499
            cancelled = gone
        except Exception:
            _log.exception("request %s failed", call.request_id)
            call.error = GatewayError("internal_error", "The gateway failed to handle this request.")
        _note_status(call, reply)  # no `finally`: a compiled one must not wait (docs/decisions.md)
        if call.governed is not None:
            call.governed.end(call.outcomes)
        if self._has_ends or call.once is not None:
            await self._end(call, begun)
        if cancelled is not None:
            raise cancelled
        return _as_answered(call, reply)

    async def _end(self, call: Call, begun: int) -> None:
        """Close the stages whose turn had begun, last first; one that breaks does not keep the others from it."""
        cancelled: asyncio.CancelledError | None = None
        for _, end, stage in reversed(self._turns[:begun]):
            if end is not None:
                try:
                    await end(call)
                except asyncio.CancelledError as error:
                    cancelled = error
                except Exception:
                    _log.exception("stage %s failed to close its account of %s", stage.name, call.request_id)
        if call.once is not None:
            await call.once.close(call)
        if cancelled is not None:
            raise cancelled

    def _attach_watchers(self, call: Call) -> None:
        outer = call.chunk_watcher  # whoever watches the call as a whole

        def watch(data: bytes) -> None:
            self._watch(call, data)
            if outer is not None:
                outer(data)

        call.chunk_watcher = watch

    def _watch(self, call: Call, data: bytes) -> None:
        for look, stage in self._watchers:
            try:
                look(call, data)
            except Exception as error:
                if isinstance(error, GatewayError) and (not stage.optional or error.status < 500):
                    raise
                _log.exception("stage %s failed to look at a chunk of %s", stage.name, call.request_id)
                if not stage.optional:
                    raise GatewayError("internal_error", "The gateway failed to handle this request.") from error


def _waited(call: Call, turn: Awaitable[Reply | None]) -> Awaitable[Reply | None]:
    call.waited = True
    return turn


def _as_answered(call: Call, reply: Reply | None) -> Reply | None:
    """What the client gets, with what the gateway says of itself; None for a stream that was written."""
    if reply is None and call.error is not None and call.broken is None:
        return render_error(call, call.error)
    if reply is not None:
        call.add_headers(reply.headers)
    return reply


def _note_status(call: Call, reply: Reply | None) -> None:
    if reply is not None:
        call.status = reply.status
    elif call.error is not None and not call.status:
        call.status = call.error.status


def _begin_of(stage: Stage) -> _Begin:
    return _failing_open(stage) if stage.optional else stage.on_request


def _failing_open(stage: Stage) -> _Begin:
    """The turn of an optional stage: one that breaks is passed over."""

    async def begin(call: Call) -> Reply | None:
        try:
            return await take_turn(stage, call)
        except Exception as error:
            if isinstance(error, GatewayError) and error.status < 500:
                raise
            _log.exception("optional stage %s failed and is passed over", stage.name)
            return None

    return begin


def render_error(call: Call, error: GatewayError) -> Reply:
    """A failure in the shape of the API that the client speaks, with what it needs to decide whether to try again."""
    headers = [(b"content-type", b"application/json")]
    call.add_headers(headers)
    headers.extend(retry_headers(error))
    return Reply(error.status, call.speech.error_body(error, call.request_id), headers)


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
