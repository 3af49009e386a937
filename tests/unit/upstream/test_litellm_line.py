"""litellm behind the interface of a connection: what it is told, what becomes of its answers and its exceptions.

litellm itself is not needed here; `test_litellm_contract.py` has it where it is installed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.connection import Limits
from gateway.upstream.litellm_failure import Refusal, read_failure
from gateway.upstream.litellm_library import Access, arguments
from gateway.upstream.litellm_line import LiteLLMLine
from gateway.wire.openai import EMBEDDINGS
from gateway.wire.sse import event_data, split_events
from tests.unit.upstream.fakes import LIMITS, Bench, FakeJob, target

HEAD = (
    b"POST /chat/completions HTTP/1.1\r\nhost: litellm\r\nauthorization: Bearer the-key-42\r\n"
    b"x-team: blue\r\ntraceparent: 00-1\r\n\r\n"
)
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "foo",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


class Dumped:
    """An answer object of litellm's: it can say itself as JSON."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def model_dump(self, *, mode: str, exclude_none: bool, warnings: bool) -> Any:
        assert (mode, exclude_none, warnings) == ("json", True, False)
        return orjson.loads(orjson.dumps(self._document))


class Pieces:
    """Its stream; `gate`, where given, is waited for before each piece but the first."""

    def __init__(self, *pieces: Any, gate: asyncio.Event | None = None) -> None:
        self.left = list(pieces)
        self.gate = gate
        self.pulled = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self.pulled and self.gate is not None:
            await self.gate.wait()
        if not self.left:
            raise StopAsyncIteration
        self.pulled += 1
        piece = self.left.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        return Dumped(piece)

    async def aclose(self) -> None:
        self.closed = True


class Library:
    """litellm: notes what it is called with, and answers with `reply`, or raises it."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.calls: list[dict[str, Any]] = []
        self.loads = 0
        self.cancelled = False

    def load(self) -> Any:
        self.loads += 1
        return SimpleNamespace(acompletion=self._answer, aembedding=self._answer)

    async def _answer(self, **given: Any) -> Any:
        self.calls.append(given)
        try:
            return await self.reply() if callable(self.reply) else self._give()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def _give(self) -> Any:
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply


class Heard:
    """A receiver that takes notes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.reads: list[bytes] = []
        self.error: GatewayError | None = None
        self.over = asyncio.Event()
        self.at_read: Callable[[], None] | None = None

    def on_head(self, status: int, headers: Any) -> None:
        assert not self.status
        self.status, self.headers = status, headers

    def on_body(self, data: bytes) -> None:
        assert not self.over.is_set()
        self.reads.append(data)
        if self.at_read is not None:
            self.at_read()

    def on_end(self) -> None:
        assert not self.over.is_set()
        self.over.set()

    def on_failure(self, error: GatewayError) -> None:
        assert not self.over.is_set()
        self.error = error
        self.over.set()


def _line(library: Library, **more: Any) -> LiteLLMLine:
    return LiteLLMLine(Tasks(), models=["up-1"], loader=library.load, **more)


def _send(line: LiteLLMLine, *, head: bytes = HEAD, limits: Limits = LIMITS, **fields: Any) -> tuple[Any, Heard]:
    connection: Any = line.take()
    heard = Heard()
    document = {"model": "up-1", "messages": [{"role": "user", "content": "hello"}], **fields}
    deadline = asyncio.get_running_loop().time() + limits.total_s
    connection.send(head, orjson.dumps(document), heard, limits, deadline)
    return connection, heard


async def _over(heard: Heard) -> Heard:
    await asyncio.wait_for(heard.over.wait(), 5)
    return heard


def _raised(kind: str, *bases: type[Exception], message: str = "no", **attributes: Any) -> Exception:
    error = type(kind, bases or (Exception,), {})(message)
    for name, value in {"message": message, **attributes}.items():
        setattr(error, name, value)
    return error


def _chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion.chunk",
        "model": "foo",
        "choices": [{"index": 0, "delta": delta}],
        **more,
    }


def _asked(line: LiteLLMLine, *, streamed: bool = False, **fields: Any) -> FakeJob:
    made: Any = line
    return FakeJob([target(made)], streamed=streamed, **fields)


# --- a call ---------------------------------------------------------------------------------------


async def test_it_is_told_the_request_and_nothing_but_it() -> None:
    library = Library(Dumped(WHOLE))
    line = _line(library, api_base="https://up.example/v1", api_version="2026-01", header_names=["X-Team"])
    assert library.loads == 0
    _, heard = _send(line, temperature=0.5, seed=None)
    await _over(heard)
    (call,) = library.calls
    assert 0 < call.pop("timeout") <= LIMITS.total_s
    assert call == {
        "model": "up-1",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "api_key": "the-key-42",
        "api_base": "https://up.example/v1",
        "api_version": "2026-01",
        "extra_headers": {"x-team": "blue"},
        "num_retries": 0,
        "max_retries": 0,
    }
    await _over(_send(line)[1])
    assert library.loads == 1


async def test_without_settings_of_its_own_everything_is_left_to_the_environment() -> None:
    library = Library(Dumped(WHOLE))
    await _over(_send(_line(library), head=b"POST /v1/chat/completions HTTP/1.1\r\nhost: litellm\r\n\r\n")[1])
    assert set(library.calls[0]) == {"model", "messages", "timeout", "num_retries", "max_retries"}


@pytest.mark.parametrize("field", ["api_base", "api_key", "mock_response", "fallbacks", "model_list", "extra_headers"])
async def test_a_client_cannot_set_what_is_litellm_s_own(field: str) -> None:
    library = Library(Dumped(WHOLE))
    heard = await _over(_send(_line(library), **{field: "x"})[1])
    assert heard.error is not None
    assert (heard.error.code, heard.error.param) == ("unsupported_parameter", field)
    assert not library.calls


@pytest.mark.parametrize("tools", [[{"type": "mcp", "server_url": "litellm_proxy"}], [None], "x", [{}]])
def test_tools_that_litellm_would_call_itself_are_refused(tools: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        arguments("chat", {"model": "m", "tools": tools}, Access(), 1.0)
    assert caught.value.param == "tools"


@given(st.dictionaries(st.text(max_size=30), st.integers() | st.text(max_size=5) | st.none(), max_size=8))
def test_no_field_passes_that_is_not_known(fields: dict[str, Any]) -> None:
    own = {"model", "input", "dimensions", "input_type", "user"}
    with contextlib.suppress(GatewayError):
        made = arguments("embeddings", {**fields, "model": "m"}, Access(), 1.0)
        assert set(made) <= own | {"timeout", "num_retries", "max_retries"}


async def test_only_configured_models_are_answered() -> None:
    library = Library(Dumped(WHOLE))
    heard = await _over(_send(_line(library), model="huggingface/http://elsewhere.example")[1])
    assert heard.error is not None
    assert heard.error.code == "model_not_found"
    assert not library.calls


async def test_other_endpoints_are_not_served() -> None:
    line = _line(Library(Dumped(WHOLE)))
    refused = [_send(line, head=b"POST /rerank HTTP/1.1\r\n\r\n")[1]]
    connection: Any = await line.connect(LIMITS, 0.0)
    refused.append(Heard())
    connection.send_head(b"POST /files HTTP/1.1\r\n\r\n", refused[1], LIMITS, 0.0)
    connection.write(b"x")
    await connection.drain()
    connection.finish()
    for heard in refused:
        error = (await _over(heard)).error
        assert error is not None
        assert error.code == "unsupported_operation"


async def test_where_it_cannot_be_imported_the_error_says_what_to_install() -> None:
    def broken() -> Any:
        raise ImportError("no module")

    heard = await _over(_send(LiteLLMLine(Tasks(), models=["up-1"], loader=broken))[1])
    assert heard.error is not None
    assert heard.error.code == "upstream_connect_failed"
    assert "kubechat-gateway[litellm]" in heard.error.message


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.shows("litellm", "chat")
@pytest.mark.shows("litellm", "usage")
async def test_a_whole_answer_goes_through_dispatch() -> None:
    bench = Bench()
    reply = await bench.run(_asked(_line(Library(Dumped(WHOLE)))))
    answer = orjson.loads(reply.body)
    assert answer["choices"][0]["message"]["content"] == "hi"
    usage = bench.admission.closed[0].usage
    assert usage is not None
    assert (usage.prompt, usage.completion) == (7, 3)


@pytest.mark.shows("litellm", "tools")
async def test_an_answer_of_calls_alone_has_null_as_content() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    heard = await _over(_send(_line(Library(Dumped({**WHOLE, "choices": [choice]}))))[1])
    assert orjson.loads(heard.reads[0])["choices"][0]["message"] == {**message, "content": None}


async def test_what_is_litellm_s_own_is_left_out_but_for_a_refusal() -> None:
    message = {"role": "assistant", "provider_specific_fields": {"refusal": "No."}}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "provider_specific_fields": {}}
    answer = {**WHOLE, "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.1}}
    heard = await _over(_send(_line(Library(Dumped(answer))))[1])
    read = orjson.loads(heard.reads[0])
    said = {"role": "assistant", "content": None, "refusal": "No."}
    assert read["choices"] == [{"index": 0, "message": said, "finish_reason": "stop"}]
    assert read["usage"] == {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.shows("litellm", "streaming")
async def test_a_stream_goes_through_dispatch() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    pieces = Pieces(
        _chunk({"role": "assistant", "content": "a"}),
        _chunk({"content": "b"}),
        {**_chunk({}), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        _chunk({}, usage=usage),
    )
    bench = Bench()
    library = Library(pieces)
    line = _line(library)
    job = _asked(line, streamed=True, stream_options={"include_usage": True})
    assert await bench.run(job) is None
    await line.tasks.drain(1)
    assert library.calls[0]["stream"] is True
    payloads = [event_data(event) for event in split_events(bench.sink.body)]
    chunks = [orjson.loads(payload) for payload in payloads if payload and payload != b"[DONE]"]
    assert payloads[-1] == b"[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "ab"
    assert chunks[2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[3]["choices"], chunks[3]["usage"]) == ([], usage)
    assert pieces.closed
    bench.admission.check()


@pytest.mark.shows("litellm", "embeddings")
@pytest.mark.parametrize("packing", ["float", "base64"])
async def test_embeddings_come_as_asked_for(packing: str) -> None:
    answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0, 0.5]}], "model": "m"}
    library = Library(Dumped(answer))
    job = _asked(_line(library))
    job.endpoint = EMBEDDINGS
    job.document = {"model": "up-1", "input": "text", "encoding_format": packing}
    job.body = orjson.dumps(job.document)
    reply = await Bench().run(job)
    vector = orjson.loads(reply.body)["data"][0]["embedding"]
    if packing == "base64":
        vector = list(struct.unpack("<2f", base64.b64decode(vector)))
    assert vector == [1.0, 0.5]
    assert "encoding_format" not in library.calls[0]


@pytest.mark.parametrize("reply", [None, Dumped([]), Dumped({}), Dumped({"choices": [1]}), Dumped({"choices": None})])
async def test_an_answer_that_is_none_is_said_to_be_none(reply: Any) -> None:
    for fields in ({}, {"stream": True}):
        given = Pieces(reply._document) if fields and reply is not None else reply
        heard = await _over(_send(_line(Library(given)), **fields)[1])
        assert heard.error is not None
        assert heard.error.code == "upstream_bad_answer"


async def test_an_answer_that_is_too_large_is_given_up() -> None:
    heard = await _over(_send(_line(Library(Dumped(WHOLE))), limits=replace(LIMITS, max_body_bytes=10))[1])
    assert heard.error is not None
    assert heard.error.code == "upstream_answer_too_large"


# --- time, and clients that go -----------------------------------------------------------------------


async def _never() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"first_byte_s": 0.02}, "upstream_first_byte_timeout"),
        ({"total_s": 0.02}, "upstream_total_timeout"),
    ],
)
async def test_a_call_that_takes_too_long_is_cancelled(limits: dict[str, float], code: str) -> None:
    library = Library(_never)
    heard = await _over(_send(_line(library), limits=replace(LIMITS, **limits))[1])
    assert heard.error is not None
    assert heard.error.code == code
    await asyncio.sleep(0)
    assert library.cancelled


async def test_a_stream_that_falls_silent_is_given_up_but_not_while_the_client_is_slow() -> None:
    pieces = Pieces(_chunk({"content": "a"}), _chunk({"content": "b"}), gate=asyncio.Event())
    limits = replace(LIMITS, idle_s=0.05)
    connection, heard = _send(_line(Library(pieces)), limits=limits, stream=True)
    heard.at_read = connection.pause_reading
    await asyncio.sleep(0.15)
    assert len(heard.reads) == 1
    assert heard.error is None
    connection.resume_reading()
    await _over(heard)
    assert heard.error is not None
    assert heard.error.code == "upstream_idle_timeout"
    await asyncio.sleep(0.01)
    assert pieces.closed


async def test_nothing_is_asked_for_while_the_client_is_slow() -> None:
    pieces = Pieces(*(_chunk({"content": "x"}) for _ in range(5)))
    connection, heard = _send(_line(Library(pieces)), stream=True)
    heard.at_read = connection.pause_reading
    await asyncio.sleep(0.02)
    assert pieces.pulled == 1
    heard.at_read = None
    connection.resume_reading()
    await _over(heard)
    assert len(heard.reads) == 6


async def test_a_client_that_goes_cancels_the_call() -> None:
    library = Library(_never)
    connection, heard = _send(_line(library))
    await asyncio.sleep(0.02)
    connection.abort()
    await asyncio.sleep(0.01)
    assert library.cancelled
    assert not heard.over.is_set()


async def test_a_client_may_go_while_it_is_written_to() -> None:
    pieces = Pieces(*(_chunk({"content": "x"}) for _ in range(5)))
    connection, heard = _send(_line(Library(pieces)), stream=True)
    heard.at_read = connection.abort
    await asyncio.sleep(0.02)
    assert (len(heard.reads), pieces.pulled, pieces.closed) == (1, 1, True)


async def test_a_gateway_that_stops_ends_its_calls() -> None:
    line = _line(Library(_never))
    _, heard = _send(line)
    await asyncio.sleep(0.02)
    await line.tasks.drain(0)
    assert heard.error is not None
    assert heard.error.code == "upstream_reset_after_write"


# --- exceptions -----------------------------------------------------------------------------------


def _response(**headers: str) -> Any:
    return SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})


CONNECTION = type("APIConnectionError", (Exception,), {})


@pytest.mark.shows("litellm", "errors")
@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (_raised("AuthenticationError", status_code=401), "upstream_auth", 502),
        (_raised("PermissionDeniedError", status_code=403), "upstream_auth", 502),
        (_raised("NotFoundError", status_code=404), "upstream_4xx", 404),
        (_raised("BadRequestError", status_code=400), "upstream_4xx", 400),
        (_raised("UnprocessableEntityError", status_code=422), "upstream_4xx", 422),
        (_raised("PaymentRequiredError", status_code=402), "upstream_quota", 429),
        (_raised("ContextWindowExceededError", status_code=400), "context_length_exceeded", 400),
        (_raised("ContentPolicyViolationError", status_code=400), "content_policy_violation", 400),
        (_raised("InternalServerError", status_code=500), "upstream_5xx", 502),
        (_raised("BadGatewayError", status_code=502), "upstream_5xx", 502),
        (_raised("ServiceUnavailableError", status_code=503), "upstream_overloaded", 503),
        (_raised("Timeout", CONNECTION, status_code=408), "upstream_first_byte_timeout", 504),
        (_raised("Timeout", CONNECTION, status_code=504), "upstream_reset_after_write", 502),
        (_raised("APIConnectionError", status_code=500), "upstream_reset_after_write", 502),
        (_raised("APIError", status_code="no"), "upstream_5xx", 502),
        (ValueError("a bug"), "upstream_5xx", 502),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_its_exceptions_are_ours(error: Exception, code: str, status: int) -> None:
    result = await Bench(attempts=1).run(_asked(_line(Library(error))))
    assert isinstance(result, GatewayError)
    assert (result.code, result.status) == (code, status)


@pytest.mark.parametrize(
    ("cause", "code"),
    [("ConnectError", "upstream_connect_failed"), ("ConnectTimeout", "upstream_connect_timeout")],
)
async def test_a_provider_that_cannot_be_reached_was_sent_nothing(cause: str, code: str) -> None:
    error = _raised("InternalServerError", status_code=500)
    error.__cause__ = _raised("APIConnectionError")
    error.__cause__.__context__ = _raised(cause)
    result = await Bench(attempts=1).run(_asked(_line(Library(error))))
    assert isinstance(result, GatewayError)
    assert result.code == code


async def test_a_limit_says_when_to_try_again() -> None:
    error = _raised("RateLimitError", status_code=429, response=_response(retry_after="7"))
    result = await Bench(attempts=1).run(_asked(_line(Library(error))))
    assert isinstance(result, GatewayError)
    assert (result.code, result.retry_after_s) == ("upstream_429", 7.0)


async def test_a_field_that_the_provider_lacks_is_named() -> None:
    said = (
        "litellm.UnsupportedParamsError: sagemaker does not support parameters: ['seed', 'n'], for model=foo. To drop"
    )
    error = _raised("UnsupportedParamsError", message=said, status_code=400)
    result = await Bench().run(_asked(_line(Library(error)), seed=1))
    assert isinstance(result, GatewayError)
    assert (result.code, result.param, result.status) == ("unsupported_parameter", "seed", 400)
    assert "'seed' and 'n'" in result.message
    assert "drop_params" not in result.message


def test_messages_hold_no_secret_no_traceback_and_no_name_of_litellm_s() -> None:
    said = (
        "litellm.BadRequestError: OpenAIException - bad key the-key-42 or sk-abcdef1234567890\n"
        "Traceback (most recent call last):\n  File"
    )
    meant = read_failure(_raised("BadRequestError", message=said, status_code=400), ("the-key-42",), began=False)
    assert isinstance(meant, Refusal)
    assert orjson.loads(meant.body)["error"]["message"] == "bad key … or [redacted]"


async def test_a_stream_that_fails_before_its_first_piece_is_an_error_with_a_status() -> None:
    library = Library(Pieces(_raised("RateLimitError", status_code=429)))
    bench = Bench(attempts=1)
    result = await bench.run(_asked(_line(library), streamed=True))
    assert isinstance(result, GatewayError)
    assert result.code == "upstream_429"
    assert bench.sink.head is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_raised("InternalServerError", status_code=500, message="boom"), "upstream_5xx"),
        (_raised("ContentPolicyViolationError", status_code=400), "content_policy_violation"),
        (_raised("APIConnectionError", status_code=500), "upstream_truncated"),
        (
            _raised("MidStreamFallbackError", original_exception=_raised("RateLimitError", status_code=429)),
            "upstream_429",
        ),
    ],
    ids=lambda value: str(value),
)
async def test_a_stream_that_fails_half_way_ends_in_an_error(error: Exception, code: str) -> None:
    pieces = Pieces(_chunk({"content": "a"}), error)
    bench = Bench()
    line = _line(Library(pieces))
    job = _asked(line, streamed=True)
    await bench.run(job)
    await line.tasks.drain(1)
    assert job.broken is not None
    assert job.broken.code == code
    assert b"[DONE]" not in bench.sink.body
    assert pieces.closed


@given(st.text(max_size=200), st.integers() | st.text(max_size=5) | st.none(), st.booleans())
def test_whatever_it_raises_means_something(message: str, status: Any, began: bool) -> None:
    for kind in ("BadRequestError", "UnsupportedParamsError", "APIConnectionError", "Timeout", "Whatever"):
        meant = read_failure(_raised(kind, message=message, status_code=status), ("abcdef",), began=began)
        if isinstance(meant, Refusal):
            assert 400 <= meant.status <= 599
            assert type(orjson.loads(meant.body)["error"]["message"]) is str
