"""Every way to ask wrongly has its own answer, whichever lane takes it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.server.client import Client
from tests.integration.server.requests import HELLO, get, post
from tests.integration.server.serving import KEY, LIMITED_KEY, MASTER_KEY, Serving

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


def nested(levels: int) -> bytes:
    return b'{"model":"demo","messages":[{"role":"user","content":"x"}],"a":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize("way", ["plain", "chunked"])
@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b"", None, (400, "invalid_json", None)),
        (b"{", None, (400, "invalid_json", None)),
        (b"\xff\xfe{}", None, (400, "invalid_json", None)),
        (b'{"model":"demo\xff"}', None, (400, "invalid_json", None)),
        (b'\xef\xbb\xbf{"model":"demo"}', None, (400, "invalid_json", None)),
        (b"[]", None, (400, "invalid_json", None)),
        (b'"text"', None, (400, "invalid_json", None)),
        (b"null", None, (400, "invalid_json", None)),
        (b"{}{}", None, (400, "invalid_json", None)),
        (nested(300), None, (400, "invalid_json", None)),
        (nested(1_000), None, (400, "invalid_json", None)),
        (nested(50_000), None, (400, "invalid_json", None)),
        (b'{"a":' * 30_000, None, (400, "invalid_json", None)),
        (b'{"model":"demo","messages":[{"role":"user","content":"\\ud800"}]}', None, (400, "invalid_json", None)),
        (b'{"model":"demo","temperature":NaN}', None, (400, "invalid_json", None)),
        (b'{"model":"demo","temperature":Infinity}', None, (400, "invalid_json", None)),
        (b'{"model":"demo","seed":1e999}', None, (400, "invalid_json", None)),
        (b'{"model":"demo","seed":' + b"9" * 5_000 + b"}", None, (400, "invalid_json", None)),
        (b" " * 200_001, None, (413, "body_too_large", None)),
        ({"messages": HELLO["messages"]}, None, (400, "missing_field", "model")),
        ({**HELLO, "model": None}, None, (400, "invalid_field", "model")),
        ({**HELLO, "model": 5}, None, (400, "invalid_field", "model")),
        ({**HELLO, "model": ""}, None, (400, "invalid_field", "model")),
        ({**HELLO, "model": "m" * 257}, None, (400, "invalid_field", "model")),
        ({**HELLO, "model": "dem"}, None, (404, "model_not_found", "model")),
        ({**HELLO, "model": "no/such"}, None, (404, "model_not_found", "model")),
        ({**HELLO, "model": "a\0b\n"}, None, (404, "model_not_found", "model")),
        ({"model": "demo"}, None, (400, "missing_field", "messages")),
        ({"model": "demo", "messages": None}, None, (400, "invalid_field", "messages")),
        ({"model": "demo", "messages": "x"}, None, (400, "invalid_field", "messages")),
        ({"model": "demo", "messages": []}, None, (400, "invalid_field", "messages")),
        ({"model": "demo", "messages": [1]}, None, (400, "invalid_field", "messages[0]")),
        ({"model": "demo", "messages": [{"role": "user"}, {}]}, None, (400, "invalid_field", "messages[1].role")),
        ({**HELLO, "stream": 1}, None, (400, "invalid_field", "stream")),
        ({**HELLO, "stream_options": {}}, None, (400, "invalid_field", "stream_options")),
        ({**HELLO, "stream": True, "stream_options": []}, None, (400, "invalid_field", "stream_options")),
        (
            {**HELLO, "stream": True, "stream_options": {"include_usage": 1}},
            None,
            (400, "invalid_field", "stream_options.include_usage"),
        ),
        ({"model": "demo"}, COMPLETIONS, (400, "missing_field", "prompt")),
        ({"model": "demo", "prompt": []}, COMPLETIONS, (400, "invalid_field", "prompt")),
        ({"model": "demo", "prompt": 5}, COMPLETIONS, (400, "invalid_field", "prompt")),
        ({"model": "demo"}, EMBEDDINGS, (400, "missing_field", "input")),
        ({"model": "demo", "input": {}}, EMBEDDINGS, (400, "invalid_field", "input")),
        ({"model": "demo", "input": "x", "stream": True}, EMBEDDINGS, (400, "invalid_field", "stream")),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_bad_body_is_refused_by_what_is_wrong_with_it(
    serving: Serving, body: object, path: str | None, expected: tuple[int, str, str | None], way: str
) -> None:
    request = post(body, way=way) if path is None else post(body, path, way=way)
    answer = await serving.send(request)
    assert (answer.status, answer.code, answer.param) == expected


@pytest.mark.parametrize("way", ["plain", "chunked"])
async def test_what_is_unusual_but_right_is_served(serving: Serving, way: str) -> None:
    for body in (
        nested(200),
        {**HELLO, "seed": 2**63 - 1, "unknown": {"deep": [None, "\0", "😀"]}},
        b'{"model":"demo","messages":[{"role":"user","content":"\\ud83d\\ude00"}],"seed":123456789012345678901234567890}',
        b' \n{"model" : "demo", "model": "demo", "messages":[{"role":"user","content":null}]} \n',
        {**HELLO, "stream": None, "stream_options": None},
    ):
        assert (await serving.send(post(body, way=way))).status == 200
    assert (await serving.send(post({"model": "demo", "prompt": ""}, COMPLETIONS, way=way))).status == 200


@pytest.mark.parametrize("way", ["plain", "query"])
@pytest.mark.parametrize(
    ("key", "headers", "expected"),
    [
        (None, {}, (401, "missing_api_key")),
        ("", {}, (401, "missing_api_key")),
        ("sk-kc-unknown", {}, (401, "invalid_api_key")),
        ("sk-kc-revoked", {}, (401, "invalid_api_key")),
        ("sk-kc-expired", {}, (401, "expired_api_key")),
        ("sk-kc-disabled", {}, (401, "disabled_api_key")),
        ("sk-kc-away", {}, (503, "key_store_unavailable")),
        ("caf\xe9", {}, (401, "invalid_api_key")),
        (None, {"Authorization": KEY}, (401, "invalid_api_key")),
        (None, {"Authorization": "Basic a"}, (401, "invalid_api_key")),
        (None, {"Authorization": ""}, (401, "missing_api_key")),
        (None, {"Authorization": "bearer   " + KEY}, (200, "")),
        (None, {"X-Api-Key": KEY}, (200, "")),
        (None, {"Api-Key": KEY}, (200, "")),
        (None, {"Authorization": "Bearer ", "Api-Key": KEY}, (200, "")),
        (None, {"Authorization": "Basic a", "X-Api-Key": KEY}, (200, "")),
        (LIMITED_KEY, {}, (200, "")),
        (MASTER_KEY, {}, (200, "")),
    ],
)
async def test_a_key_is_read_from_each_of_its_headers_and_refused_by_its_state(
    serving: Serving, key: str | None, headers: dict[str, str], expected: tuple[int, str], way: str
) -> None:
    answer = await serving.send(post(key=key, headers=tuple(headers.items()), way=way))
    assert (answer.status, "" if answer.status == 200 else answer.code) == expected


async def test_models_and_endpoints_that_are_not_the_keys_are_forbidden(serving: Serving) -> None:
    answer = await serving.send(post({**HELLO, "model": "gpt-4o"}, key=LIMITED_KEY))
    assert (answer.status, answer.code, answer.param) == (403, "model_not_allowed", "model")
    answer = await serving.send(post({"model": "demo", "input": "x"}, EMBEDDINGS, key=LIMITED_KEY))
    assert (answer.status, answer.code) == (403, "endpoint_not_allowed")
    listed = (await serving.send(get("/v1/models", key=LIMITED_KEY))).json
    assert [model["id"] for model in listed["data"]] == ["demo"]
    assert (await serving.send(get("/v1/models/gpt-4o", key=LIMITED_KEY))).code == "model_not_found"
    assert (await serving.send(get("/v1/models/demo", key=LIMITED_KEY))).json["id"] == "demo"


async def test_an_unknown_model_is_answered_with_the_nearest_that_the_key_may_use(serving: Serving) -> None:
    answer = await serving.send(post({**HELLO, "model": "gpt-4"}))
    assert "'gpt-4o'" in answer.json["error"]["message"]
    answer = await serving.send(post({**HELLO, "model": "gpt-4"}, key=LIMITED_KEY))
    assert "gpt-4o" not in answer.json["error"]["message"]


@pytest.mark.parametrize("way", ["plain", "chunked"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "caf\xe9"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "br"}, 415),
        ({"Content-Encoding": "Identity"}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "APPLICATION/JSON"}, 200),
        ({"Content-Type": "application/problem+json"}, 200),
    ],
)
async def test_only_plain_json_is_read(serving: Serving, headers: dict[str, str], status: int, way: str) -> None:
    answer = await serving.send(post(headers=tuple(headers.items()), way=way))
    assert answer.status == status
    if status != 200:
        assert answer.code == "unsupported_media_type"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/chat/completions/", "/v2/models", "/admin/keys"]
)
async def test_an_unknown_path_is_a_404_in_openais_shape(serving: Serving, path: str) -> None:
    answer = await serving.send(get(path))
    assert (answer.status, answer.code) == (404, "unknown_path")


# --- any input whatever -----------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
requests_like = st.fixed_dictionaries(
    {},
    optional={
        name: json_values
        for name in (
            "messages",
            "prompt",
            "input",
            "stream",
            "stream_options",
            "n",
            "max_tokens",
            "tools",
            "dimensions",
        )
    }
    | {"model": st.just("demo") | json_values, "messages": st.just(HELLO["messages"]) | json_values},
)
fuzzed = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return repr(value).encode("utf-8", "surrogatepass")


async def check(serving: Serving, body: bytes, path: str) -> None:
    """Both lanes, on one connection: the same status, a clean shape, and no 5xx."""
    client: Client = await serving.connect()
    statuses = []
    for way in ("plain", "chunked"):
        await client.write(post(body, path, way=way))
        answer = await client.read_answer()
        statuses.append(answer.status)
        assert answer.status in (200, 400, 404, 413), (answer.status, body)
        if answer.status != 200:
            assert answer.code
    assert statuses[0] == statuses[1]
    client.abort()
    await asyncio.sleep(0)


@fuzzed
@given(requests_like, st.sampled_from(["/v1/chat/completions", COMPLETIONS, EMBEDDINGS]))
async def test_any_json_is_served_or_refused_cleanly_on_both_lanes(
    serving: Serving, body: dict[str, Any], path: str
) -> None:
    await check(serving, encoded(body), path)


@fuzzed
@given(st.binary(max_size=300) | json_values.map(encoded))
async def test_any_bytes_are_refused_cleanly_on_both_lanes(serving: Serving, body: bytes) -> None:
    await check(serving, body, "/v1/chat/completions")


@fuzzed
@given(st.binary(min_size=1, max_size=200))
async def test_any_first_bytes_of_a_connection_harm_nobody(serving: Serving, data: bytes) -> None:
    client = await serving.connect()
    await client.write(data)
    client.writer.write_eof()
    async with asyncio.timeout(10):
        try:
            said = await client.reader.read()
        except ConnectionError:
            said = b""
    assert not said or b'"request_id"' in said
    assert b" 50" not in said[:15]
    client.abort()


@fuzzed
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "content-length", "expect", "te", "x-request-id", "content-type"]),
            st.text(max_size=20),
        ),
        max_size=5,
    )
)
async def test_any_headers_are_served_or_refused_cleanly(serving: Serving, lines: list[tuple[str, str]]) -> None:
    safe = tuple(
        (name, value.encode("utf-8").decode("latin-1").replace("\r", "").replace("\n", "")) for name, value in lines
    )
    for way in ("plain", "query"):
        client = await serving.connect()
        await client.write(post(headers=safe, way=way))
        answer = await client.read_answer()
        assert answer.status in (200, 400, 413, 415, 417)
        if answer.status != 200:
            assert answer.code
        client.abort()
