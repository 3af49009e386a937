"""The same request gets the same answer whichever lane takes it, and one connection may mix both."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.server.app import make_app, open_lanes
from gateway.server.ports import bind
from tests.integration.server.client import Answer
from tests.integration.server.requests import CHAT, HELLO, SLOW_WAYS, get, post
from tests.integration.server.serving import LIMITED_KEY, Serving

_VARYING = {"date", "x-request-id", "x-gateway-request-id", "connection"}

MESSAGE = {**HELLO, "max_tokens": 20}

CASES: dict[str, dict[str, Any]] = {
    "chat": {},
    "chat_stream": {"body": {**HELLO, "stream": True}},
    "chat_stream_with_usage": {"body": {**HELLO, "stream": True, "stream_options": {"include_usage": True}}},
    "alias": {"body": {**HELLO, "model": "gpt-4o"}},
    "completions": {"body": {"model": "demo", "prompt": "x"}, "path": "/v1/completions"},
    "completions_stream": {"body": {"model": "demo", "prompt": "x", "stream": True}, "path": "/v1/completions"},
    "embeddings": {"body": {"model": "demo", "input": ["a", "b"]}, "path": "/v1/embeddings"},
    "messages": {"body": MESSAGE, "path": "/v1/messages"},
    "messages_elsewhere": {"body": MESSAGE, "path": "/anthropic/v1/messages"},
    "messages_stream": {"body": {**MESSAGE, "stream": True}, "path": "/v1/messages"},
    "messages_no_key": {"body": MESSAGE, "path": "/v1/messages", "key": None},
    "messages_no_limit": {"body": {**HELLO, "model": "demo"}, "path": "/v1/messages"},
    "messages_too_large": {"body": b" " * 200_001, "path": "/v1/messages"},
    "rerank_nobody_has": {"body": {"model": "demo", "query": "x", "documents": ["y"]}, "path": "/v1/rerank"},
    "client_request_id": {"headers": (("X-Request-Id", "mine-1"),)},
    "insane_request_id": {"headers": (("X-Request-Id", "a b"),)},
    "other_key_header": {"key": None, "headers": (("Api-Key", "sk-kc-good"),)},
    "empty_body": {"body": b""},
    "not_json": {"body": b"{"},
    "array": {"body": b"[]"},
    "no_model": {"body": {"messages": []}},
    "unknown_model": {"body": {**HELLO, "model": "dem"}},
    "wrong_stream": {"body": {**HELLO, "stream": "yes"}},
    "no_key": {"key": None},
    "wrong_key": {"key": "sk-kc-wrong"},
    "expired_key": {"key": "sk-kc-expired"},
    "disabled_key": {"key": "sk-kc-disabled"},
    "store_away": {"key": "sk-kc-away"},
    "basic_auth": {"key": None, "headers": (("Authorization", "Basic YTpi"),)},
    "model_not_allowed": {"key": LIMITED_KEY, "body": {**HELLO, "model": "gpt-4o"}},
    "endpoint_not_allowed": {"key": LIMITED_KEY, "body": {"model": "demo", "input": "x"}, "path": "/v1/embeddings"},
    "form": {"headers": (("Content-Type", "application/x-www-form-urlencoded"),)},
    "gzip": {"headers": (("Content-Encoding", "gzip"),)},
    "too_large": {"body": b" " * 200_001},
    "latin_header": {"headers": (("X-Name", "caf\xe9"),)},
    "twice_the_same_header": {"headers": (("X-Name", "a"), ("X-Name", "b"))},
}


def comparable(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """What must be equal: ids and times are taken out."""
    headers = {name: value for name, value in answer.headers.items() if name not in _VARYING}
    body: Any = answer.body
    if headers["content-type"].startswith("application/json"):
        headers.pop("content-length")
        body = answer.json
        body.pop("created", None)
        for holder in (body, body.get("error", {})):
            holder.pop("request_id", None)
    else:
        events = [line for line in answer.body.decode().split("\n") if line.startswith("data: {")]
        body = [{**orjson.loads(event[6:]), "created": 0} for event in events]
        assert answer.body.endswith((b"data: [DONE]\n\n", b'data: {"type":"message_stop"}\n\n'))
    return answer.status, headers, body


@pytest.mark.parametrize("name", CASES)
async def test_both_lanes_answer_alike(serving: Serving, name: str) -> None:
    case = CASES[name]
    plain = await serving.send(post(**case))
    assert ("x-gateway-request-id" in plain.headers) == (name == "client_request_id")
    for way in SLOW_WAYS:
        slow = await serving.send(post(**case, way=way))
        assert comparable(slow) == comparable(plain), way
    if plain.status >= 300 and "messages" not in name:
        assert plain.code


async def test_both_lanes_answer_alike_behind_tls(secure: Serving) -> None:
    for body in (HELLO, {**HELLO, "stream": True}, {}):
        answers = [await secure.send(post(body, way=way)) for way in ("plain", "chunked", "query")]
        assert comparable(answers[0]) == comparable(answers[1]) == comparable(answers[2])


async def test_the_plain_request_never_reaches_aiohttp(serving: Serving) -> None:
    server = serving.runner.server
    assert server is not None
    assert (await serving.send(post())).status == 200
    assert server.requests_count == 0
    for number, way in enumerate(SLOW_WAYS, 1):
        assert (await serving.send(post(way=way))).status == 200
        assert server.requests_count == number


async def only(request: web.Request) -> web.Response:
    return web.Response(text="here")


async def test_a_port_without_the_pipeline_has_no_hot_paths(serving: Serving) -> None:
    app = make_app([web.get("/only", only)], serving.recorder.answered)
    runner, lane = await open_lanes(app, serving.gate, pipeline=False)
    sockets = bind("127.0.0.1", 0, shared=False)
    await serving.ports.listen(lane, sockets, None)
    serving.port = sockets[0].getsockname()[1]
    assert (await serving.send(post())).code == "unknown_path"
    assert (await serving.send(b"\x16\x03")).code == "invalid_http"
    await runner.cleanup()


def _numbered(number: int, way: str) -> tuple[bytes, str]:
    text = f"number {number}"
    body: dict[str, Any] = {**HELLO, "messages": [{"role": "user", "content": text}]}
    if way == "models":
        return get("/v1/models"), '"object":"list"'
    if way == "stream":
        return post({**body, "stream": True}), "[DONE]"
    return post(body, way=way), text


ORDERS = [
    ["plain", "plain", "plain", "plain", "plain"],
    ["plain", "chunked", "plain"],
    ["chunked", "plain", "chunked", "query", "plain", "stream", "plain"],
    ["models", "models", "plain", "models", "expect", "stream"],
    ["stream", "chunked", "stream", "white_space", "plain"],
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_pipelined_requests_of_both_lanes_are_answered_in_order(either: Serving, order: list[str]) -> None:
    requests = [_numbered(number, way) for number, way in enumerate(order)]
    client = await either.connect()
    await client.write(b"".join(data for data, _ in requests))
    for _, text in requests:
        answer = await client.read_answer()
        assert answer.status == 200
        assert text in answer.body.decode()
    # And once more, one after the other on the same connection.
    for data, text in requests:
        await client.write(data)
        assert text in (await client.read_answer()).body.decode()


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_every_split_of_the_bytes_gives_the_same_answers(serving: Serving, order: list[str]) -> None:
    requests = [_numbered(number, way) for number, way in enumerate(order[:3])]
    data = b"".join(data for data, _ in requests)
    for cut in range(1, len(data), 1 if len(data) < 700 else 7):
        client = await serving.connect()
        client.writer.write(data[:cut])
        # A turn of the loop that has been seen by the server: an answer to another connection.
        if cut % 40 == 1:
            await serving.send(get("/healthz"))
        else:
            await turn_loop()
        client.writer.write(data[cut:])
        for _, text in requests:
            assert text in (await client.read_answer()).body.decode(), cut
        client.abort()


async def turn_loop() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["plain", "chunked"])
async def test_a_request_that_comes_byte_by_byte_is_served(either: Serving, way: str) -> None:
    client = await either.connect()
    for octet in post(way=way) + post(way=way):
        client.writer.write(bytes([octet]))
        await turn_loop()
    assert (await client.read_answer()).status == 200
    assert (await client.read_answer()).status == 200


async def test_the_next_request_may_come_in_pieces_behind_one_of_aiohttps(serving: Serving) -> None:
    """The beginning of a request that arrives with the end of aiohttp's must not stay in aiohttp's parser."""
    client = await serving.connect()
    nxt = post()
    await client.write(get("/v1/models") + nxt[:9])
    assert (await client.read_answer()).status == 200
    await client.write(nxt[9:])
    assert "hello" in (await client.read_answer()).body.decode()


@pytest.mark.parametrize("way", ["plain", *SLOW_WAYS])
async def test_connection_close_is_kept_to(either: Serving, way: str) -> None:
    client = await either.connect()
    await client.write(post(headers=(("Connection", "close"),), way=way) + post())
    answer = await client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.ends()


async def test_http_1_0_is_answered_and_closed(serving: Serving) -> None:
    client = await serving.connect()
    body = orjson.dumps({**HELLO, "stream": True})
    head = post(body).replace(b"HTTP/1.1", b"HTTP/1.0")
    await client.write(head)
    answer = await client.read_answer()
    assert answer.status == 200
    assert not answer.chunked
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert await client.ends()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("HEAD", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("PUT", "/v1/models", "GET,HEAD"),
        ("TRACE", "/healthz", "GET,HEAD"),
        ("M-SEARCH", "/healthz", "GET,HEAD"),
        ("BREW", CHAT, "DELETE, GET, HEAD, PATCH, POST"),
        ("CONNECT", "a.example:443", "DELETE, GET, HEAD, PATCH, POST"),
    ],
)
async def test_a_method_that_is_not_served_is_refused_and_the_right_ones_named(
    serving: Serving, method: str, path: str, allow: str
) -> None:
    answer = await serving.send(get(path, method=method))
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert answer.code == "method_not_allowed"


async def test_head_is_served_where_get_is_and_has_no_body(serving: Serving) -> None:
    client = await serving.connect()
    await client.write(get("/v1/models", method="HEAD") + get("/healthz"))
    assert (await client.read_answer(head_only=True)).status == 200
    assert (await client.read_answer()).body == b"ok\n"


async def test_an_upgrade_is_ignored_and_its_body_is_not_taken_for_another_request(serving: Serving) -> None:
    for name, value in (("Upgrade", "h2c"), ("Upgrade", "websocket")):
        client = await serving.connect()
        smuggled = get("/healthz")
        await client.write(post(smuggled, headers=(("Connection", "Upgrade"), (name, value))))
        assert (await client.read_answer()).code == "invalid_json"
        await client.write(get("/v1/models", extra="Connection: Upgrade\r\nUpgrade: websocket\r\n") + post())
        assert (await client.read_answer()).json["object"] == "list"
        assert (await client.read_answer()).json["object"] == "chat.completion"


async def test_unread_pipelined_requests_wait_outside_of_memory(serving: Serving) -> None:
    """However many requests are sent ahead, few of their bytes are read before their turn comes."""
    client = await serving.connect()
    serving.upstream.connections.clear()
    one = post({**HELLO, "model": "scripted"})
    client.writer.transport.set_write_buffer_limits(0)
    waiting = serving.upstream.next
    first = waiting()
    task = asyncio.get_running_loop().create_task(first)
    await asyncio.sleep(0)
    client.writer.write(one * 40_000)
    for _ in range(30):
        connection = await task
        task = asyncio.get_running_loop().create_task(waiting())
        await asyncio.sleep(0)
        lane = next(iter(serving.gate.connections))
        assert len(lane._rest) < 700_000
        connection.answer(b'{"object":"chat.completion"}')
        assert (await client.read_answer()).status == 200
    task.cancel()
    client.abort()
