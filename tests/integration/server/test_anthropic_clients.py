"""What Anthropic's clients get: its shapes, whoever answers."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.services.routing.routes import Route, Routes
from gateway.upstream.connection import Limits
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.target import Account, Manner, Target
from gateway.wire.dialects import find_dialect
from tests.integration.server.requests import HELLO, get, post
from tests.integration.server.serving import Serving

VERSION = "anthropic-version: 2023-06-01\r\n"
MESSAGE = {**HELLO, "max_tokens": 20}


async def test_a_prompt_is_measured_without_being_sent() -> None:
    async with Serving() as serving:
        for path in ("/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"):
            short = await serving.send(post(HELLO, path=path))
            long = await serving.send(
                post({**HELLO, "messages": [{"role": "user", "content": "word " * 400}]}, path=path)
            )
            assert short.status == 200
            assert 0 < short.json["input_tokens"] < 40
            assert 400 < long.json["input_tokens"] < 700
        refused = await serving.send(post({"model": "demo"}, path="/v1/messages/count_tokens"))
        assert refused.status == 400
        assert refused.json["type"] == "error"
        assert "messages" in refused.json["error"]["message"]


def route_to_claude(serving: Serving) -> None:
    """Have the model `claude` served by an upstream that speaks Anthropic's format, and is directed by the test."""
    limits = Limits(connect_s=5, first_byte_s=30, idle_s=30, total_s=60)
    account = Account(
        name="compatible",
        type="anthropic",
        base_url="http://127.0.0.1/v1",
        base_path="/v1",
        host=b"127.0.0.1",
        headers={},
        line=serving.upstream,
        limits=limits,
        manner=Manner(dialect=find_dialect("anthropic")),
        local=False,
    )
    target = Target(account, "claude-sonnet-4-5", Breaker(BreakerOptions(consecutive_failures=1), lambda: 0.0), limits)
    serving.routing.routes = Routes(
        {"claude": Route("claude", (target,))}, ("compatible",), lambda provider, model: None, (target,)
    )


COUNTED = b'{"input_tokens":17}'
NO_SUCH_PATH = b'{"detail":"Not Found"}'
NO_SUCH_MODEL = b'{"type":"error","error":{"type":"not_found_error","message":"model: claude-sonnet-4-5"}}'


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, COUNTED, (200, True)),
        (404, NO_SUCH_PATH, (200, False)),
        (405, b"", (200, False)),
        (501, b"<html>", (200, False)),
        (404, NO_SUCH_MODEL, (404, False)),
        (400, b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}', (400, False)),
        (500, b"", (502, False)),
    ],
)
async def test_a_prompt_is_estimated_where_the_provider_counts_none(
    status: int, body: bytes, told: tuple[int, bool]
) -> None:
    async with Serving() as serving:
        route_to_claude(serving)
        asked = asyncio.create_task(serving.send(post({**HELLO, "model": "claude"}, path="/v1/messages/count_tokens")))
        upstream = await serving.upstream.next()
        assert upstream.receiver is not None
        upstream.receiver.on_head(status, [(b"content-type", b"application/json")])
        upstream.receiver.on_body(body)
        upstream.receiver.on_end()
        answer = await asked
        assert (answer.status, answer.body == COUNTED) == told
        if answer.status == 200:
            assert 0 < answer.json["input_tokens"] < 40
            assert len(serving.upstream.connections) == 1
            (target,) = serving.routing.routes.targets
            assert not target.breaker.refuses(), "an endpoint that is lacking is no failure of the target"


async def test_models_are_listed_as_anthropic_does_for_who_says_a_version() -> None:
    async with Serving() as serving:
        listed = await serving.send(get("/v1/models?limit=2", extra=VERSION))
        assert [model["id"] for model in listed.json["data"]] == ["demo", "scripted"]
        assert listed.json["has_more"] is True
        rest = await serving.send(get("/v1/models?after_id=scripted", extra=VERSION))
        assert [model["id"] for model in rest.json["data"]] == ["single", "gpt-4o"]
        one = await serving.send(get("/v1/models/demo", extra=VERSION))
        assert one.json["type"] == "model"
        assert (await serving.send(get("/v1/models"))).json["object"] == "list"
        wrong = await serving.send(get("/v1/models?limit=many", extra=VERSION))
        assert (wrong.status, wrong.json["error"]["type"]) == (400, "invalid_request_error")


async def test_every_refusal_has_anthropics_shape() -> None:
    async with Serving() as serving:
        cases = [
            (post(MESSAGE, path="/v1/messages", key=None), 401, "authentication_error"),
            (post({**MESSAGE, "model": "dem"}, path="/v1/messages"), 404, "not_found_error"),
            (post(b"{", path="/v1/messages"), 400, "invalid_request_error"),
            (post(b" " * 200_001, path="/v1/messages"), 413, "request_too_large"),
            (get("/v1/messages"), 405, "invalid_request_error"),
            (get("/anthropic/v1/nothing"), 404, "not_found_error"),
        ]
        for request, status, kind in cases:
            answer = await serving.send(request)
            assert answer.status == status
            body = orjson.loads(answer.body)
            assert (body["type"], body["error"]["type"]) == ("error", kind)
            assert body["error"]["message"]


async def test_a_message_says_who_answered_and_what_it_used() -> None:
    async with Serving() as serving:
        answer = await serving.send(post(MESSAGE, path="/v1/messages"))
        assert answer.status == 200
        assert answer.headers["x-gateway-provider"] == "demo"
        assert answer.json["model"] == "demo"
        assert answer.json["content"][0]["type"] == "text"
        assert answer.json["usage"]["output_tokens"] > 0
        assert answer.json["stop_reason"] in ("end_turn", "max_tokens")
