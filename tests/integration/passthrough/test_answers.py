"""The endpoints that answer and forget: where they go, what comes back, what is metered."""

from __future__ import annotations

import hashlib
import io
import json

import aiohttp

from tests.fake_openai import AUDIO, fail
from tests.integration.passthrough.conftest import MASTER, Site


def form(
    *fields: tuple[str, str], file: bytes = b"RIFF data", filename: str = "a.wav", last: bool = False
) -> aiohttp.FormData:
    """A form whose file comes behind the fields, or before the last of them."""
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields[: -1 if last else None]:
        data.add_field(name, value)
    data.add_field("file", io.BytesIO(file), filename=filename, content_type="audio/wav")
    if last:
        data.add_field(*fields[-1])
    return data


async def test_a_response_under_an_alias_names_the_alias_and_is_metered(site: Site) -> None:
    key = await site.key("red")
    body = b'{"model": "smart", "input": "hi", "store": false, "extra": {"kept": 1.50}}'
    status, answer, headers = await site.call(
        "POST", "/v1/responses", key, data=body, headers={"content-type": "application/json"}
    )
    assert status == 200
    assert answer["model"] == "smart"
    assert answer["output"][0]["content"][0]["text"] == "Hello there"
    assert headers["x-gateway-provider"] == "lab"
    assert "set-cookie" not in headers
    assert "x-ratelimit-remaining-requests" not in headers
    assert headers["openai-version"] == "2020-10-01"
    assert float(headers["x-gateway-cost-usd"]) > 0
    seen = site.provider.received[-1]
    assert seen.body == body.replace(b'"smart"', b'"gpt-4o-mini"')
    assert not any(key in value for value in seen.headers.values())
    (row,) = await site.rows()
    assert (row["endpoint"], row["model_name"], row["target_model"]) == ("responses", "smart", "gpt-4o-mini")
    assert (row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == (11, 6, 4)
    assert row["final"]
    assert not row["estimated"]


async def test_a_streamed_response_is_passed_on_with_the_alias_and_metered(site: Site) -> None:
    key = await site.key("red")
    body = {"model": "smart", "input": "hi", "stream": True}
    status, raw, headers = await site.call("POST", "/v1/responses", key, json=body)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events][-1] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert {event["response"]["model"] for event in events if "response" in event} == {"smart"}
    (row,) = await site.rows()
    assert (row["input_tokens"], row["output_tokens"], row["streamed"], row["outcome"]) == (11, 6, True, "ok")
    assert row["first_byte_ms"] is not None


async def test_an_idempotency_key_is_neither_heeded_nor_sent_on_where_the_body_passes(site: Site) -> None:
    key = await site.key("red", endpoints=None)
    for path, body in (
        ("/v1/responses", {"model": "smart", "input": "hi"}),
        ("/v1/moderations", {"input": "a bomb"}),
    ):
        before = len(site.provider.received)
        for number in range(2):
            once = {"idempotency-key": "once" if number else "one \u00e9 that would be refused elsewhere"}
            status, _, headers = await site.call("POST", path, key, json=body, headers=once)
            assert status == 200
            assert "x-gateway-idempotent-replay" not in headers
        received = site.provider.received[before:]
        assert len(received) == 2
        assert not any("idempotency" in name.lower() for one in received for name in one.headers)
    assert len(await site.rows()) == 4


async def test_moderations_go_to_the_only_provider_and_cost_nothing(site: Site) -> None:
    key = await site.key("red", endpoints=None)
    status, answer, _ = await site.call("POST", "/v1/moderations", key, json={"input": "a bomb"})
    assert (status, answer["results"][0]["flagged"]) == (200, True)
    (row,) = await site.rows()
    assert (row["endpoint"], row["input_tokens"], row["output_tokens"], row["estimated"]) == (
        "moderations",
        0,
        0,
        False,
    )


async def test_a_key_with_a_list_of_models_has_to_name_one(site: Site) -> None:
    key = await site.key(models=["painter"])
    status, answer, _ = await site.call("POST", "/v1/moderations", key, json={"input": "x"})
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, "missing_field", "model")
    status, answer, _ = await site.call("POST", "/v1/responses", key, json={"model": "secret", "input": "x"})
    assert (status, answer["error"]["code"]) == (403, "model_not_allowed")
    data = form(("model", "ears"))
    status, answer, _ = await site.call("POST", "/v1/audio/transcriptions", key, data=data)
    assert (status, answer["error"]["code"]) == (403, "model_not_allowed")
    assert site.provider.received == []


async def test_images_are_made_and_edited_and_their_tokens_metered(site: Site) -> None:
    key = await site.key()
    status, answer, _ = await site.call(
        "POST", "/v1/images/generations", key, json={"model": "painter", "prompt": "a cat"}
    )
    assert (status, len(answer["data"])) == (200, 1)
    assert site.provider.received[-1].json == {"model": "gpt-image-1", "prompt": "a cat"}
    data = form(("prompt", "a hat"), ("model", "painter"), file=b"\x89PNG" * 9, filename="a.png", last=True)
    status, _, _ = await site.call("POST", "/v1/images/edits", key, data=data)
    assert status == 200
    seen = site.provider.received[-1].form
    assert (seen["model"], seen["prompt"], seen["file"][:2]) == ("gpt-image-1", "a hat", ("a.png", 36))
    rows = await site.rows()
    assert [(row["input_tokens"], row["output_tokens"], row["image_input_tokens"]) for row in rows] == [(10, 20, 6)] * 2
    status, raw, _ = await site.call(
        "POST", "/v1/images/generations", key, json={"model": "painter", "prompt": "a cat", "stream": True}
    )
    assert raw.count(b"event: image_generation") == 2
    assert (await site.rows())[-1]["output_tokens"] == 20


async def test_speech_is_streamed_back_as_it_is(site: Site) -> None:
    key = await site.key()
    status, raw, headers = await site.call(
        "POST", "/v1/audio/speech", key, json={"model": "voice", "input": "hi", "voice": "a"}
    )
    assert (status, raw, headers["content-type"]) == (200, AUDIO, "audio/mpeg")
    assert site.provider.received[-1].json["model"] == "tts-1"
    (row,) = await site.rows()
    assert (row["outcome"], row["estimated"]) == ("ok", True)


async def test_transcriptions_whole_streamed_and_as_text(site: Site) -> None:
    key = await site.key()
    for fields in ((("model", "ears"),), (("language", "en"), ("model", "ears"))):
        status, answer, _ = await site.call("POST", "/v1/audio/transcriptions", key, data=form(*fields, last=True))
        assert (status, answer["text"]) == (200, "hello world")
        assert site.provider.received[-1].form["model"] == "gpt-4o-mini-transcribe"
        assert site.provider.received[-1].form["file"][0] == "a.wav"
    status, raw, _ = await site.call(
        "POST", "/v1/audio/transcriptions", key, data=form(("model", "ears"), ("stream", "true"))
    )
    assert raw.count(b"data: ") == 3
    status, raw, headers = await site.call(
        "POST", "/v1/audio/translations", key, data=form(("model", "ears"), ("response_format", "text"))
    )
    assert (raw, headers["content-type"]) == (b"hello world\n", "text/plain; charset=utf-8")
    rows = await site.rows()
    assert [row["input_tokens"] for row in rows] == [14, 14, 14, 0]
    assert [row["estimated"] for row in rows] == [False, False, False, True]


async def test_a_large_form_goes_through_unchanged_whichever_way_its_model_stands(site: Site) -> None:
    key = await site.key()
    big = bytes(range(256)) * 8192
    for last in (False, True):
        data = form(("model", "ears"), file=big, last=last)
        status, _, _ = await site.call("POST", "/v1/audio/transcriptions", key, data=data)
        assert status == 200
        seen = site.provider.received[-1]
        assert seen.form["file"][1:3] == (len(big), hashlib.sha256(big).hexdigest())
        assert seen.form["model"] == "gpt-4o-mini-transcribe"
    assert list((site.home / "tmp").iterdir()) == []


async def test_what_was_spooled_is_tried_again_and_what_was_not_is_not(site: Site) -> None:
    key = await site.key()
    big = b"x" * 1_000_000
    site.provider.faults.extend([fail(500)])
    status, _, headers = await site.call(
        "POST", "/v1/audio/transcriptions", key, data=form(("model", "ears"), file=big, last=True)
    )
    assert (status, headers["x-gateway-attempts"]) == (200, "2")
    site.provider.faults.extend([fail(500)])
    status, answer, headers = await site.call(
        "POST", "/v1/audio/transcriptions", key, data=form(("model", "ears"), file=big)
    )
    assert (status, answer["error"]["code"], headers["x-gateway-attempts"]) == (502, "upstream_5xx", "1")
    rows = await site.rows()
    assert [(row["outcome"], row["final"]) for row in rows] == [("error", False), ("ok", True), ("error", True)]


async def test_the_demo_provider_says_what_it_cannot_do(site: Site) -> None:
    status, answer, _ = await site.call("POST", "/v1/moderations", MASTER, json={"model": "demo", "input": "x"})
    assert (status, answer["error"]["code"]) == (400, "no_provider")
    assert "demo provider" in answer["error"]["message"]


async def test_the_providers_errors_come_back_as_they_are(site: Site) -> None:
    site.provider.faults.append(fail(422))
    status, answer, _ = await site.call("POST", "/v1/responses", MASTER, json={"model": "smart", "input": "x"})
    assert (status, answer["error"]["message"]) == (422, "made to fail with 422")


async def test_metrics_and_log_know_the_endpoints(site: Site) -> None:
    key = await site.key()
    await site.call("POST", "/v1/moderations", key, json={"input": "x"})
    await site.call("GET", "/v1/files", key)
    _, raw, _ = await site.call("GET", "/metrics", MASTER)
    text = raw.decode()
    for endpoint in ("moderations", "files"):
        lines = [line for line in text.splitlines() if f'gateway_requests_total{{endpoint="{endpoint}"' in line]
        assert [line.rsplit(" ", 1)[1] for line in lines] == ["1.0"]
    assert 'endpoint="/v1/moderations"' not in text
