"""What Anthropic's clients get: its shapes, whoever answers."""

from __future__ import annotations

import orjson

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


async def test_models_are_listed_as_anthropic_does_for_who_says_a_version() -> None:
    async with Serving() as serving:
        listed = await serving.send(get("/v1/models?limit=2", extra=VERSION))
        assert [model["id"] for model in listed.json["data"]] == ["demo", "scripted"]
        assert listed.json["has_more"] is True
        rest = await serving.send(get("/v1/models?after_id=scripted", extra=VERSION))
        assert [model["id"] for model in rest.json["data"]] == ["gpt-4o"]
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
