"""`/v1/responses` where the model's provider has no Responses API: by way of chat, kept by the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.server.body_log import BodyLog
from gateway.services.responses.service import Responses
from tests.fake_openai import cut_after, fail
from tests.integration.passthrough.conftest import MASTER, Site

PATH = "/v1/responses"


async def respond(site: Site, key: str, model: str = "plain", **fields: Any) -> tuple[int, Any]:
    status, answer, _ = await site.call("POST", PATH, key, json={"model": model, "input": "hi", **fields})
    return status, answer


def events_of(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: ")]


def code_of(given: tuple[int, Any]) -> tuple[int, str, str | None]:
    return given[0], given[1]["error"]["code"], given[1]["error"]["param"]


async def kept(site: Site) -> int:
    return int(await site.worker.postgres.fetchval("SELECT count(*) FROM gateway_responses"))


async def test_a_response_is_asked_for_by_chat_metered_and_kept(site: Site) -> None:
    key = await site.key("red")
    status, answer, headers = await site.call(
        "POST", PATH, key, json={"model": "plain", "input": "hi", "instructions": "Be short.", "metadata": {"a": "b"}}
    )
    assert status == 200
    assert (answer["object"], answer["status"], answer["model"], answer["store"]) == (
        "response",
        "completed",
        "plain",
        True,
    )
    assert answer["output"][0]["content"][0]["text"] == "Hello there"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (5, 2)
    assert headers["x-gateway-provider"] == "plain"
    assert headers["x-gateway-model"] == "llama"
    seen = site.provider.received[-1].json
    assert seen["model"] == "llama"
    assert [message["role"] for message in seen["messages"]] == ["system", "user"]
    (row,) = await site.rows()
    assert (row["endpoint"], row["model_name"], row["input_tokens"], row["output_tokens"]) == (
        "responses",
        "plain",
        5,
        2,
    )
    status, again, _ = await site.call("GET", f"{PATH}/{answer['id']}", key)
    assert (status, again) == (200, answer)


async def test_a_stream_is_kept_before_its_last_event_and_can_be_gone_on_from(site: Site) -> None:
    key = await site.key("red")
    status, raw, headers = await site.call("POST", PATH, key, json={"model": "plain", "input": "one", "stream": True})
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    events = events_of(raw)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    first = events[-1]["response"]
    assert await kept(site) == 1
    status, second = await respond(site, key, input="two", previous_response_id=first["id"])
    assert (status, second["previous_response_id"]) == (200, first["id"])
    said = [(message["role"], message["content"]) for message in site.provider.received[-1].json["messages"]]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert "Hello there" in str(said[1][1])
    status, _ = await respond(site, key, model="demo", previous_response_id=second["id"])
    assert status == 200
    rows = await site.rows()
    assert [(row["streamed"], row["first_byte_ms"] is not None) for row in rows] == [
        (True, True),
        (False, True),
        (False, True),
    ]


async def test_the_last_event_does_not_wait_for_a_slow_database_and_the_next_request_does(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await site.key("red")
    store, go_on = Responses.store, asyncio.Event()

    async def slow(*given: Any, **named: Any) -> bool:
        await go_on.wait()
        return await store(*given, **named)

    monkeypatch.setattr(Responses, "store", slow)
    monkeypatch.setattr("gateway.server.openai.responses._HOLD_S", 0.05)
    _, raw, _ = await site.call("POST", PATH, key, json={"model": "plain", "input": "one", "stream": True})
    first = events_of(raw)[-1]["response"]
    assert first["status"] == "completed"
    assert await kept(site) == 0
    following = asyncio.ensure_future(respond(site, key, input="two", previous_response_id=first["id"]))
    reading = asyncio.ensure_future(site.call("GET", f"{PATH}/{first['id']}", key))
    await asyncio.sleep(0.1)
    assert not following.done()
    assert not reading.done()
    go_on.set()
    assert (await following)[0] == 200
    assert (await reading)[1]["id"] == first["id"]


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*given: Any, **named: Any) -> bool:
        raise GatewayError("store_unavailable", "The database is away.")

    key = await site.key("red")
    monkeypatch.setattr(Responses, "store", away)
    status, answer = await respond(site, key)
    assert (status, answer["status"]) == (200, "completed")
    assert code_of(await respond(site, key, previous_response_id=answer["id"])) == (
        404,
        "not_found",
        "previous_response_id",
    )
    monkeypatch.setattr(Responses, "check", away)
    asked = len(site.provider.received)
    assert code_of(await respond(site, key))[:2] == (503, "store_unavailable")
    assert len(site.provider.received) == asked
    assert (await respond(site, key, store=False))[0] == 200


async def test_store_false_keeps_nothing(site: Site) -> None:
    key = await site.key("red")
    status, answer = await respond(site, key, store=False)
    assert (status, answer["store"]) == (200, False)
    await site.call("POST", PATH, key, json={"model": "plain", "input": "x", "stream": True, "store": False})
    assert await kept(site) == 0
    assert (await site.call("GET", f"{PATH}/{answer['id']}", key))[0] == 404
    assert "store" not in site.provider.received[-1].json


async def test_a_key_without_the_word_keeps_nothing_and_goes_on_from_nothing(site: Site) -> None:
    plain = await site.key("red", endpoints=None)
    status, answer = await respond(site, plain)
    assert (status, answer["store"]) == (200, False)
    assert await kept(site) == 0
    asking: list[dict[str, Any]] = [{"store": True}, {"background": True}, {"previous_response_id": "resp_1"}]
    for fields in asking:
        assert code_of(await respond(site, plain, **fields)) == (403, "endpoint_not_allowed", *fields)
    assert (await site.call("GET", f"{PATH}/{answer['id']}", plain))[0] == 403


async def test_a_kept_response_is_its_teams_alone(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    _, made = await respond(site, red, input=[{"role": "user", "content": "one"}, {"role": "user", "content": "two"}])
    path = f"{PATH}/{made['id']}"
    for method, part in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        status, answer, _ = await site.call(method, path + part, blue)
        assert (status, answer["error"]["message"]) == (404, f"Response with id '{made['id']}' not found.")
    missing = (404, "not_found", "previous_response_id")
    assert code_of(await respond(site, blue, previous_response_id=made["id"])) == missing
    assert code_of(await respond(site, blue, previous_response_id="resp_" + "0" * 32)) == missing
    item = made["output"][0]["id"]
    for reference in ({"type": "item_reference", "id": item}, {"id": item}):
        assert code_of(await respond(site, blue, input=[reference])) == (404, "not_found", "input")
        assert (await respond(site, red, input=[reference]))[0] == 200
    assert "Hello there" in str(site.provider.received[-1].json["messages"])
    assert (await site.call("GET", path, MASTER))[1]["id"] == made["id"]
    mate = await site.key("red")
    status, page, headers = await site.call("GET", f"{path}/input_items?order=asc&limit=1", mate)
    assert (status, page["object"], page["has_more"]) == (200, "list", True)
    assert page["data"][0]["content"] == [{"type": "input_text", "text": "one"}]
    assert headers["x-request-id"]
    for query in ("limit=none", "limit=0", "order=odd", "after=nothing"):
        assert (await site.call("GET", f"{path}/input_items?{query}", red))[0] == 400
    assert (await site.call("POST", f"{path}/cancel", red))[0] == 400
    assert (await site.call("GET", f"{path}?stream=true", red))[0] == 400
    assert (await site.call("DELETE", path, red))[1] == {"id": made["id"], "object": "response", "deleted": True}
    assert (await site.call("GET", path, red))[0] == 404
    assert code_of(await respond(site, red, previous_response_id=made["id"])) == missing


async def test_a_conversation_moves_to_a_provider_with_responses_of_its_own(site: Site) -> None:
    key = await site.key("red")
    _, first = await respond(site, key, input="one")
    status, second = await respond(site, key, model="smart", input="two", previous_response_id=first["id"])
    assert (status, second["previous_response_id"]) == (200, first["id"])
    assert site.provider.objects["response"] == {}  # it was asked by chat
    assert [message["role"] for message in site.provider.received[-1].json["messages"]] == ["user", "assistant", "user"]
    item = first["output"][0]["id"]
    status, _ = await respond(site, key, model="smart", input=[{"type": "item_reference", "id": item}])
    assert status == 200
    assert site.provider.objects["response"] == {}
    assert (await respond(site, key, model="smart"))[0] == 200
    assert len(site.provider.objects["response"]) == 1


async def test_a_whole_answer_is_in_the_log_of_bodies(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Log(BodyLog):
        def end(self, call: Any, reply: Any) -> None:
            told.append(bytes(self._streams[call.request_id]).decode())

    monkeypatch.setattr(site.worker.recorder, "bodies", Log("all"))
    _, answer = await respond(site, await site.key("red"))
    assert [json.loads(body) for body in told] == [answer]


async def test_the_first_target_decides_and_the_next_is_asked_by_chat_too(site: Site) -> None:
    key = await site.key("red")
    site.provider.faults.extend([fail(500)] * 3)
    status, answer, headers = await site.call("POST", PATH, key, json={"model": "mixed", "input": "hi"})
    assert (status, headers["x-gateway-provider"]) == (200, "lab")
    assert answer["model"] == "mixed"
    assert site.provider.objects["response"] == {}
    assert await kept(site) == 1
    _, native = await respond(site, key, model="smart")
    status, _ = await respond(site, key, model="mixed", previous_response_id=native["id"])
    assert status == 200  # what a provider keeps is gone on from there
    assert site.provider.received[-1].json["previous_response_id"] == native["id"]


async def test_what_breaks_off_is_told_of_and_not_kept(site: Site) -> None:
    key = await site.key("red")
    head = b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n'
    site.provider.faults.append(cut_after(head))
    status, raw, _ = await site.call("POST", PATH, key, json={"model": "plain", "input": "x", "stream": True})
    events = events_of(raw)
    assert status == 200
    assert [event["type"] for event in events][-2:] == ["error", "response.failed"]
    assert await kept(site) == 0
    site.provider.faults.append(fail(422))
    given = await respond(site, key)
    assert (given[0], given[1]["error"]["message"]) == (422, "made to fail with 422")
    assert await kept(site) == 0


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"background": True}, "unsupported_parameter", "background"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
        ({"input": 7}, "invalid_field", "input"),
        ({"input": None}, "missing_field", "input"),
        ({"previous_response_id": 7}, "invalid_field", "previous_response_id"),
        ({"stream": "yes"}, "invalid_field", "stream"),
        ({"store": "yes"}, "invalid_field", "store"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "unsupported_parameter", None),
    ],
)
async def test_what_cannot_be_translated_is_refused_by_name(
    site: Site, fields: dict[str, Any], code: str, param: str | None
) -> None:
    status, refused, named = code_of(await respond(site, await site.key("red"), **fields))
    assert (status, refused) == (400, code)
    assert param in (None, named)
    assert site.provider.received == []


async def test_files_must_be_the_callers_own(site: Site) -> None:
    key = await site.key("red")
    part = {"type": "input_file", "file_id": "file-1"}
    given = await respond(site, key, input=[{"role": "user", "content": [part]}])
    assert given[0] == 404
    assert site.provider.received == []


async def test_a_client_that_leaves_ends_the_call_and_nothing_is_kept(site: Site) -> None:
    key = await site.key("red")
    site.provider.pause_s = 0.3
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "plain", "input": "x", "stream": True}
    async with site.session.post(site.url + PATH, json=body, headers=headers) as answer:
        assert await answer.content.readany()
        answer.close()
    async with asyncio.timeout(10):
        while site.worker.gate.in_flight:
            await asyncio.sleep(0.01)
    assert await kept(site) == 0
    (row,) = await site.rows()
    assert row["outcome"] == "client_gone"


async def test_a_model_that_is_not_allowed_is_refused_before_anything_is_looked_up(site: Site) -> None:
    key = await site.key(models=["demo"])
    assert code_of(await respond(site, key))[:2] == (403, "model_not_allowed")
    assert code_of(await respond(site, MASTER, model="nobody"))[:2] == (404, "model_not_found")
    assert (await respond(site, key, model="demo"))[0] == 200


async def test_old_responses_are_removed(site: Site) -> None:
    await respond(site, await site.key("red"))
    postgres = site.worker.postgres
    await postgres.execute("UPDATE gateway_responses SET expires_at = now() - interval '1 second'")
    await Responses(postgres).prune()
    assert await kept(site) == 0
