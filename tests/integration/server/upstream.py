"""An upstream that answers what a test tells it to, when it is told."""

from __future__ import annotations

import asyncio
import time

import orjson

from gateway.upstream.connection import Connection, Limits, Receiver

EVENTS = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]


class ScriptedLine:
    """Hands out connections and remembers them."""

    def __init__(self) -> None:
        self.connections: list[ScriptedConnection] = []
        self._waiting: list[asyncio.Future[ScriptedConnection]] = []

    def take(self) -> Connection | None:
        return ScriptedConnection(self)

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        return ScriptedConnection(self)

    def sent(self, connection: ScriptedConnection) -> None:
        self.connections.append(connection)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(connection)
                break

    async def next(self) -> ScriptedConnection:
        """The connection of the next request that reaches the upstream."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(10):
                found: ScriptedConnection = await waiting
                return found
        finally:
            self._waiting.remove(waiting)


class ScriptedConnection(Connection):
    """One request's connection. `paused` and `aborted_at` say what the gateway did to it."""

    __slots__ = ("_line", "aborted", "aborted_at", "body", "pauses", "receiver", "stopped")

    def __init__(self, line: ScriptedLine) -> None:
        self._line = line
        self.aborted_at = 0.0
        self.aborted = asyncio.Event()
        self.stopped = False
        self.pauses = 0
        self.body = b""
        self.receiver: Receiver | None = None

    def send(self, head: bytes, body: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        self.body = body
        self.receiver = receiver
        self._line.sent(self)

    def pause_reading(self) -> None:
        self.stopped = True
        self.pauses += 1

    def resume_reading(self) -> None:
        self.stopped = False

    def abort(self) -> None:
        self.aborted_at = time.perf_counter()
        self.aborted.set()

    def answer(self, body: bytes) -> None:
        """A whole answer."""
        receiver = self._receiver_now()
        receiver.on_head(200, JSON)
        receiver.on_body(body)
        receiver.on_end()

    def begin(self) -> None:
        """The head of a stream."""
        self._receiver_now().on_head(200, EVENTS)

    def event(self, text: str) -> None:
        """One event of it."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        chunk = {"id": "c", "object": "chat.completion.chunk", "model": "scripted-1", "choices": [choice]}
        self._receiver_now().on_body(b"data: " + orjson.dumps(chunk) + b"\n\n")

    def done(self) -> None:
        """Its end."""
        receiver = self._receiver_now()
        receiver.on_body(b"data: [DONE]\n\n")
        receiver.on_end()

    def _receiver_now(self) -> Receiver:
        assert self.receiver is not None
        return self.receiver
