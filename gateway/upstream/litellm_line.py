"""Calls made by litellm in this process, behind the same interface as a connection.

What comes in and goes out is OpenAI's JSON. The limits are kept by a timer of the exchange's own, whatever litellm is
doing; a call that is given up is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.connection import Connection, Limits, Receiver
from gateway.upstream.exchange import failure
from gateway.upstream.litellm_failure import Refusal, error_event, read_failure
from gateway.upstream.litellm_library import INSTALL, Access, answer_of, arguments, chunk_of, load
from gateway.wire.dialect import Document

_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream")
_DONE = b"data: [DONE]\n\n"
_OPERATIONS = ((b"/chat/completions", "chat"), (b"/embeddings", "embeddings"))
_NAME = "litellm"
_CLOSE_S = 5.0
_log = logging.getLogger("gateway.upstream.litellm")


class LiteLLMLine:
    """A line to whatever litellm reaches: every call gets a connection of its own.

    Only `models` are answered: litellm takes the provider, and for some the address, from a model's name, and a
    client must not choose where the key goes. `header_names` are the request's headers that are handed on.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        models: Collection[str],
        api_base: str = "",
        api_version: str = "",
        header_names: Collection[str] = (),
        loader: Callable[[], Any] = load,
    ) -> None:
        self.tasks = tasks
        self.models = frozenset(models)
        self._api_base = api_base
        self._api_version = api_version
        self._header_names = frozenset(name.lower() for name in header_names)
        self._loader = loader
        self._library: Any = None

    def take(self) -> Connection | None:
        """A fresh connection."""
        return LiteLLMConnection(self)

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """The same."""
        return LiteLLMConnection(self)

    async def library(self) -> Any:
        """litellm, imported in a thread by the first call. Raises upstream_connect_failed where that fails."""
        if self._library is None:
            try:
                self._library = await asyncio.to_thread(self._loader)
            except Exception as error:  # of any of the libraries that it brings
                _log.error("litellm cannot be imported: %s", type(error).__name__)
                message = f"litellm cannot be imported ({type(error).__name__}): {INSTALL}"
                raise GatewayError("upstream_connect_failed", message) from None
        return self._library

    def access(self, head: bytes) -> Access:
        """What a request's head says of access: its bearer token, and the headers that are handed on."""
        key = ""
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.decode("latin-1").partition(": ")
            if name == "authorization":
                key = value.removeprefix("Bearer ")
            elif name in self._header_names:
                headers[name] = value
        return Access(key, self._api_base, self._api_version, headers)


class LiteLLMConnection(Connection):
    """One call."""

    __slots__ = ("_access", "_bytes", "_flowing", "_head_given", "_limits", "_line", "_loop", "_task", "_timer")

    def __init__(self, line: LiteLLMLine) -> None:  # there is no socket
        self._line = line
        self._access = Access()
        self._bytes = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._head_given = False
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._deadline = 0.0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- for the caller ---------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        """Make the call that `head` (its path) and `body` say. Nothing is called back from in here."""
        self._receiver = receiver
        self._limits = limits
        self._deadline = deadline
        path = head.split(b" ", 2)[1]
        operation = next((name for ending, name in _OPERATIONS if path.endswith(ending)), None)
        if operation is None:
            self._loop.call_soon(self._fail_with, _not_served())
            return
        self._access = self._line.access(head)
        document = orjson.loads(body)
        if document["model"] not in self._line.models:
            message = "A provider of type litellm answers only for the models that the configuration names."
            self._loop.call_soon(self._fail_with, GatewayError("model_not_found", message, param="model"))
            return
        self._watch("upstream_first_byte_timeout", limits.first_byte_s)
        self._task = self._line.tasks.spawn(self._run(operation, document), name="litellm call")

    def send_head(self, head: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        """What is passed through as it is has no place here: it fails a moment later."""
        self._receiver = receiver
        self._loop.call_soon(self._fail_with, _not_served())

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def drain(self) -> None:
        """Nothing waits."""

    def finish(self) -> None:
        """Nothing to finish."""

    def pause_reading(self) -> None:
        """Ask litellm for no more; its silence is not held against it meanwhile."""
        if self._receiver is not None and self._flowing.is_set():
            self._flowing.clear()
            self._watch("upstream_total_timeout", None)

    def resume_reading(self) -> None:
        """Go on."""
        if not self._flowing.is_set():
            self._flowing.set()
            if self._receiver is not None:
                self._watch_silence()

    def abort(self) -> None:
        """Give the call up: it is cancelled, the receiver hears nothing more."""
        self._receiver = None
        self._stop()

    # --- inside -----------------------------------------------------------------------------------

    async def _run(self, operation: str, document: Document) -> None:
        try:
            await self._call(operation, document)
        except asyncio.CancelledError:  # the gateway is stopped; else nobody listens any more
            self._fail_with(failure("upstream_truncated" if self._head_given else "upstream_reset_after_write", _NAME))
            raise
        except Exception:
            self._fail_with(failure("internal_error", _NAME, "its answer could not be handled"))
            raise

    async def _call(self, operation: str, document: Document) -> None:
        try:
            library = await self._line.library()
            given = arguments(operation, document, self._access, max(0.001, self._deadline - self._loop.time()))
            reply = await (library.aembedding if operation == "embeddings" else library.acompletion)(**given)
        except Exception as error:
            self._refuse(error)
            return
        if given.get("stream"):
            try:
                await self._pass_on(reply)
            finally:
                await _close(reply)
            return
        try:
            data = orjson.dumps(answer_of(reply, operation, document))
        except (AttributeError, KeyError, TypeError, ValueError):
            self._fail_with(failure("upstream_bad_answer", _NAME, "it answered with something that is no answer"))
            return
        self._answer_with(200, [_JSON], data)

    async def _pass_on(self, pieces: Any) -> None:
        """A stream, event by event, each asked for when the one before was taken."""
        pulled: Any = None
        while True:
            try:
                pulled = pulled or aiter(pieces)
                piece = await anext(pulled, None)
                data = _DONE if piece is None else b"data: " + orjson.dumps(chunk_of(piece)) + b"\n\n"
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                reason = f"its stream could not be read ({type(error).__name__})"
                self._fail_with(failure("upstream_bad_answer", _NAME, reason))
                return
            except Exception as error:
                self._refuse(error)
                return
            if not self._give_head(200, [_EVENTS]) or not self._give(data):
                return
            if piece is None:
                self._complete()
                return
            if self._flowing.is_set():
                self._watch_silence()
            else:
                await self._flowing.wait()

    def _refuse(self, error: BaseException) -> None:
        """The call failed, as a whole or half-way."""
        if isinstance(error, GatewayError):
            self._fail_with(error)
            return
        meant = read_failure(error, self._access.secrets, began=self._head_given)
        _log.debug("litellm raised %s", type(error).__name__)
        if isinstance(meant, GatewayError):
            self._fail_with(meant)
        elif not self._head_given:
            self._answer_with(meant.status, [_JSON, *meant.headers], meant.body)
        else:
            self._end_with(meant)

    def _end_with(self, refusal: Refusal) -> None:
        if self._give(error_event(refusal)):
            self._complete()

    def _answer_with(self, status: int, headers: list[tuple[bytes, bytes]], data: bytes) -> None:
        if self._give_head(status, headers) and self._give(data):
            self._complete()

    def _give_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        receiver = self._receiver
        if receiver is not None and not self._head_given:
            self._head_given = True
            receiver.on_head(status, headers)
        return self._receiver is not None

    def _give(self, data: bytes) -> bool:
        """Hand on a piece of the body; False where nobody wants more."""
        receiver = self._receiver
        if receiver is None:
            return False
        self._bytes += len(data)
        if self._bytes > self._limits.max_body_bytes:
            self._fail_with(failure("upstream_answer_too_large", _NAME, "its answer is larger than allowed"))
            return False
        receiver.on_body(data)
        return self._receiver is not None

    def _complete(self) -> None:
        receiver, self._receiver = self._receiver, None
        self._watch(None)
        if receiver is not None:
            receiver.on_end()

    def _fail_with(self, error: GatewayError) -> None:
        receiver, self._receiver = self._receiver, None
        self._stop()
        if receiver is not None:
            receiver.on_failure(error)

    def _stop(self) -> None:
        self._watch(None)
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _watch_silence(self) -> None:
        if self._head_given:
            self._watch("upstream_idle_timeout", self._limits.idle_s)
        else:
            self._watch("upstream_first_byte_timeout", self._limits.first_byte_s)

    def _watch(self, code: str | None, within_s: float | None = None) -> None:
        """From now on fail with `code` after so many seconds, or at the call's deadline; None: never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if code is None:
            return
        at = self._deadline
        if within_s is not None and self._loop.time() + within_s < at:
            at = self._loop.time() + within_s
        else:
            code = "upstream_total_timeout"
        self._timer = self._loop.call_at(at, self._fail_with, failure(code, _NAME))


def _not_served() -> GatewayError:
    message = "A provider of type litellm serves chat and embeddings only."
    return GatewayError("unsupported_operation", message)


async def _close(pieces: Any) -> None:
    """Let go of a stream that may not have been read to its end."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                await close()
