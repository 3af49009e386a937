"""What every such server is made of: a socket, the requests it got, the answers that were queued."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


@dataclass(frozen=True)
class Request:
    """One request as it came: `path` with its query, still percent-encoded; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON; an empty object for an empty body."""
        return orjson.loads(self.body) if self.body else {}


@dataclass(frozen=True)
class Answer:
    """What to answer; `pieces` are written one by one."""

    status: int
    pieces: Sequence[bytes]
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(document: object, status: int = 200, **headers: str) -> Answer:
    """A whole JSON answer; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, [orjson.dumps(document)], headers=named)


class Server:
    """Serves on a free port of the loopback interface. Subclasses say what is `refused` and what `answered`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.base_url = ""
        self._queue: deque[Answer] = deque()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """The base URL, without a path."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.base_url

    async def stop(self) -> None:
        """Close the socket and what is open on it."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def answer_next(self, *answers: Answer) -> None:
        """Give these answers to the next requests whose credentials are right."""
        self._queue.extend(answers)

    def refused(self, request: Request) -> Answer | None:
        """What a request without the right credentials gets; None for one that has them."""
        raise NotImplementedError

    def answered(self, request: Request) -> Answer:
        """The usual answer."""
        raise NotImplementedError

    async def _serve(self, incoming: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in incoming.headers.items()}
        request = Request(incoming.method, incoming.raw_path, headers, await incoming.read())
        self.requests.append(request)
        answer = self.refused(request)
        if answer is None:
            answer = self._queue.popleft() if self._queue else self.answered(request)
        response = web.StreamResponse(
            status=answer.status, headers={**answer.headers, "content-type": answer.content_type}
        )
        if len(answer.pieces) == 1:
            response.content_length = len(answer.pieces[0])
        await response.prepare(incoming)
        for piece in answer.pieces:
            await response.write(piece)
        await response.write_eof()
        return response
