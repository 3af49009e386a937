"""Fakes for dispatch: upstreams that follow a script, a client's side that takes notes, an admission that counts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.upstream.connection import Limits, Receiver
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.job import Headers, Outcome
from gateway.upstream.retries import RetryBudget, RetryOptions
from gateway.upstream.target import Account, Manner, Target
from gateway.wire.dialect import Document
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai import CHAT, Variations
from gateway.wire.openai_inbound import OPENAI

JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
DONE = b"data: [DONE]\n\n"
LIMITS = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=30)


class Clock:
    """A clock that stands still until it is moved; `clock()` reads it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Script:
    """What one call to an upstream does. `connect_error` and `error` are codes; `hang`: nothing more comes."""

    status: int = 200
    headers: Headers = field(default_factory=lambda: JSON)
    reads: Sequence[bytes] = ()
    connect_error: str | None = None
    error: str | None = None
    hang: bool = False
    before_head: bool = False
    lingers: bool = False
    at_send: Callable[[], None] | None = None


def whole(content: str = "hi", usage: Any = None, **more: Any) -> Script:
    """A whole chat completion."""
    document: Document = {
        "id": "1",
        "model": "up-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        **more,
    }
    if usage is None:
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    if usage:
        document["usage"] = usage
    return Script(reads=[orjson.dumps(document)])


def event(content: str = "tok ", **more: Any) -> bytes:
    """One chunk of a stream."""
    chunk = {"id": "1", "model": "up-1", "choices": [{"index": 0, "delta": {"content": content}}], **more}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def usage_event(prompt: int = 7, completion: int = 3) -> bytes:
    """The extra usage chunk."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: " + orjson.dumps({"id": "1", "model": "up-1", "choices": [], "usage": usage}) + b"\n\n"


def stream(*reads: bytes, **more: Any) -> Script:
    """A stream."""
    return Script(headers=SSE, reads=reads, **more)


def fails(status: int, document: Any = None, headers: Headers | None = None) -> Script:
    """An answer outside 2xx."""
    body = b"" if document is None else orjson.dumps(document)
    return Script(status=status, headers=[*JSON, *(headers or [])], reads=[body] if body else [])


class FakeConnection:
    """Follows a script, and notes whatever is done to it after its exchange was over."""

    def __init__(self, script: Script, log: list[tuple[bytes, bytes]]) -> None:
        self._script = script
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self.aborted = False
        self.over = False
        self.misuses: list[str] = []
        self.pauses = 0

    def send(self, head: bytes, body: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        self._log.append((head, body))
        self._receiver = receiver
        if self._script.at_send is not None:
            self._script.at_send()
        self._loop.call_soon(self._play, list(self._script.reads))

    def _play(self, reads: list[bytes]) -> None:
        script, receiver = self._script, self._receiver
        if self.aborted or receiver is None:
            return
        if not script.before_head:
            receiver.on_head(script.status, script.headers)
            for data in reads:
                if self.aborted:
                    return
                receiver.on_body(data)
        if script.hang or script.lingers or self.aborted:
            return
        self.finish()

    def finish(self) -> None:
        """The end of the script: the connection is no longer the receiver's."""
        receiver = self._receiver
        assert receiver is not None
        self.over = True
        self._receiver = None
        if self._script.error is not None:
            receiver.on_failure(GatewayError(self._script.error, "scripted"))
        else:
            receiver.on_end()

    def more(self, data: bytes) -> None:
        """Another read, later."""
        if self._receiver is not None and not self.aborted:
            self._receiver.on_body(data)

    def _note(self, what: str) -> None:
        if self.over:
            self.misuses.append(what)

    def pause_reading(self) -> None:
        self._note("pause")
        self.pauses += 1

    def resume_reading(self) -> None:
        self._note("resume")

    def abort(self) -> None:
        self._note("abort")
        self.aborted = True


class FakeLine:
    """An upstream: each call takes the next script, the last one for ever."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.sent: list[tuple[bytes, bytes]] = []
        self.connections: list[FakeConnection] = []

    def take(self) -> Any:
        return None

    async def connect(self, limits: Limits, deadline: float) -> Any:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        await asyncio.sleep(0)
        if script.connect_error is not None:
            raise GatewayError(script.connect_error, "scripted")
        connection = FakeConnection(script, self.sent)
        self.connections.append(connection)
        return connection


class FakeSink:
    """Notes what a client got; `closed_at` is how many accounts were closed when each thing was written."""

    def __init__(self, admission: FakeAdmission) -> None:
        self._admission = admission
        self.head: tuple[int, Headers] | None = None
        self.writes: list[bytes] = []
        self.closed_at: list[int] = []
        self.ended = False
        self.flow: Any = None

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    def start(self, status: int, headers: Headers) -> None:
        assert self.head is None
        self.head = (status, headers)

    def write(self, data: bytes) -> None:
        assert self.head is not None
        assert not self.ended
        self.writes.append(data)
        self.closed_at.append(len(self._admission.closed))

    def end(self) -> None:
        assert not self.ended
        self.ended = True

    def attach(self, flow: Any) -> None:
        self.flow = flow


class FakeAdmission:
    """Hands out numbers; fails the test where one is closed twice. `refuse` says which attempts get what."""

    def __init__(self, refuse: dict[int, GatewayError] | None = None) -> None:
        self._refuse = refuse or {}
        self.open: set[int] = set()
        self.closed: list[Outcome] = []

    async def reserve(self, job: Any, target: Target) -> None:
        await asyncio.sleep(0)

    def forgo(self, reservation: None) -> None:
        pass

    def admit(self, job: Any, target: Target, attempt: int, reservation: None) -> int:
        if attempt in self._refuse:
            raise self._refuse[attempt]
        assert attempt not in self.open
        self.open.add(attempt)
        return attempt

    def close(self, job: Any, permit: int, outcome: Outcome) -> None:
        self.open.remove(permit)  # KeyError: closed twice
        assert permit == outcome.number
        self.closed.append(outcome)

    def check(self) -> None:
        """All closed, one a number, exactly one final."""
        assert not self.open
        numbers = [outcome.number for outcome in self.closed]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        if self.closed:
            assert [outcome.final for outcome in self.closed].count(True) == 1
            assert self.closed[-1].final


class FakeJob:
    """A request."""

    def __init__(
        self, targets: Sequence[Target], *, asked: str = "up-1", streamed: bool = False, **fields: Any
    ) -> None:
        self.request_id = "0198c0de-0000-7000-8000-000000000001"
        self.started_us = 1_700_000_000_000_000
        self.headers: dict[bytes, bytes] = {}
        self.speech = OPENAI
        self.endpoint: Endpoint = CHAT
        self.document: Document = {"model": asked, "messages": [{"role": "user", "content": "hello"}], **fields}
        if streamed:
            self.document["stream"] = True
        self.body = orjson.dumps(self.document)
        self.stream = streamed
        self.asked_model = asked
        self.flat = False
        self.targets = targets
        self.context_fallbacks: Sequence[Target] = ()
        self.policy_fallbacks: Sequence[Target] = ()
        self.forwarded = b""
        self.begin_span: Callable[[Outcome], bytes] | None = None
        self.outcomes: list[Outcome] = []
        self.broken: GatewayError | None = None
        self.chunk_watcher: Callable[[bytes], None] | None = None
        self.begin_span: Callable[[Outcome], bytes] | None = None

    def begin_stream(self, outcome: Outcome) -> Headers:
        return SSE

    def canonical(self) -> Document:
        return self.document


class FakeWatcher:
    """Counts."""

    def __init__(self) -> None:
        self.retries: list[str] = []
        self.fallbacks: list[str] = []
        self.exhausted = 0

    def retried(self, target: Target, code: str) -> None:
        self.retries.append(code)

    def fell_back(self, job: Any, code: str) -> None:
        self.fallbacks.append(code)

    def budget_exhausted(self) -> None:
        self.exhausted += 1


def target(line: FakeLine, name: str = "p", model: str = "up-1", **more: Any) -> Target:
    """A target at a scripted upstream; its breaker runs on `clock`, and opens after five failures in a row."""
    clock = more.pop("clock", Clock())
    options = more.pop("breaker", BreakerOptions())
    account = Account(
        name=name,
        type="openai",
        base_url="http://up/v1",
        base_path="/v1",
        host=b"up",
        headers={},
        line=line,
        limits=LIMITS,
        manner=more.pop("manner", None) or Manner(variations=more.pop("variations", Variations())),
        local=False,
    )
    limits = more.pop("limits", LIMITS)
    return Target(account, model, Breaker(options, clock), limits, serves=more.pop("serves", ""))


class Bench:
    """A dispatch with fakes around it."""

    def __init__(self, admission: FakeAdmission | None = None, **options: Any) -> None:
        self.admission = admission or FakeAdmission()
        self.watcher = FakeWatcher()
        self.sink = FakeSink(self.admission)
        retries = RetryOptions(**{"base_delay_s": 0.0, "max_delay_s": 0.05, **options})
        budget = RetryBudget(retries, Clock())
        self.dispatch = Dispatch(self.admission, retries, budget, self.watcher, random.Random(1))

    async def run(self, job: FakeJob) -> Any:
        """The reply, or the GatewayError."""
        try:
            return await self.dispatch.run(job, self.sink)
        except GatewayError as error:
            return error


def outcome(of: Target | None = None, **more: Any) -> Outcome:
    """A first attempt that has come to `more`."""
    made = Outcome(target(FakeLine(whole())) if of is None else of, 1)
    for name, value in more.items():
        setattr(made, name, value)
    return made
