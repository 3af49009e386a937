"""Files, batches, fine-tuning jobs and stored responses belong to the team that made them."""

from __future__ import annotations

import uuid
from typing import Any

import aiohttp
import pytest

from gateway.store import audit
from tests.fake_openai import fail
from tests.integration.passthrough.conftest import MASTER, Site


def upload(content: bytes = b'{"a": 1}\n', purpose: str = "batch") -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    data.add_field("purpose", purpose)
    data.add_field("file", content, filename="in.jsonl", content_type="application/jsonl")
    return data


async def make_file(site: Site, key: str, purpose: str = "batch") -> str:
    status, made, _ = await site.call("POST", "/v1/files", key, data=upload(purpose=purpose))
    assert status == 200, made
    file_id: str = made["id"]
    return file_id


async def ids(site: Site, key: str, path: str) -> list[str]:
    status, page, _ = await site.call("GET", path, key)
    assert status == 200, page
    return [item["id"] for item in page["data"]]


async def test_a_file_is_made_listed_read_and_deleted(site: Site) -> None:
    key = await site.key("red")
    file_id = await make_file(site, key)
    assert site.provider.received[-1].form["purpose"] == "batch"
    status, page, _ = await site.call("GET", "/v1/files", key)
    assert page == {
        "object": "list",
        "data": [site.provider.objects["file"][file_id]],
        "first_id": file_id,
        "last_id": file_id,
        "has_more": False,
    }
    assert (await site.call("GET", f"/v1/files/{file_id}", key))[1]["filename"] == "in.jsonl"
    status, raw, headers = await site.call("GET", f"/v1/files/{file_id}/content", key)
    assert (status, raw) == (200, b'{"a": 1}\n')
    assert headers["content-disposition"] == 'attachment; filename="in.jsonl"'
    assert headers["content-length"] == "9"
    assert "set-cookie" not in headers
    status, gone, _ = await site.call("DELETE", f"/v1/files/{file_id}", key)
    assert (status, gone["deleted"]) == (200, True)
    assert await ids(site, key, "/v1/files") == []
    assert (await site.call("GET", f"/v1/files/{file_id}", key))[0] == 404
    assert await site.rows() == []


async def test_another_team_sees_nothing_of_it_and_the_master_key_everything(site: Site) -> None:
    red, same, blue = await site.key("red"), await site.key("red"), await site.key("blue")
    file_id = await make_file(site, red)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        before = len(site.provider.received)
        status, answer, _ = await site.call(method, f"/v1/files/{file_id}{path}", blue)
        unknown = (await site.call(method, f"/v1/files/file-none{path}", blue))[1]
        assert (status, answer["error"]["code"], answer["error"]["type"]) == (404, "not_found", "invalid_request_error")
        assert answer["error"]["message"].replace(file_id, "X") == unknown["error"]["message"].replace("file-none", "X")
        assert len(site.provider.received) == before
    assert await ids(site, blue, "/v1/files") == []
    for key in (same, MASTER):
        assert await ids(site, key, "/v1/files") == [file_id]
        assert (await site.call("GET", f"/v1/files/{file_id}", key))[0] == 200


async def test_a_key_without_a_team_owns_alone_and_its_successor_after_it(site: Site) -> None:
    one, other = await site.key(), await site.key()
    file_id = await make_file(site, one)
    assert await ids(site, one, "/v1/files") == [file_id]
    assert await ids(site, other, "/v1/files") == []
    key_id = (await site.worker.keys.find(one)).id
    assert key_id is not None
    _, successor = await site.worker.keys.register.rotate(uuid.UUID(key_id), 0, audit.MASTER)
    assert await ids(site, successor, "/v1/files") == [file_id]
    own = await make_file(site, successor)
    assert await ids(site, successor, "/v1/files") == [own, file_id]


async def test_lists_are_paged_though_others_objects_lie_between(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    mine = []
    for n in range(7):
        mine.append(await make_file(site, red, "batch" if n % 2 else "fine-tune"))
        await make_file(site, blue)
    newest_first = mine[::-1]
    _, first, _ = await site.call("GET", "/v1/files?limit=3", red)
    assert ([item["id"] for item in first["data"]], first["has_more"]) == (newest_first[:3], True)
    _, second, _ = await site.call("GET", f"/v1/files?limit=3&after={first['last_id']}", red)
    assert ([item["id"] for item in second["data"]], second["has_more"]) == (newest_first[3:6], True)
    _, third, _ = await site.call("GET", f"/v1/files?limit=3&after={second['last_id']}", red)
    assert ([item["id"] for item in third["data"]], third["has_more"]) == (newest_first[6:], False)
    assert await ids(site, red, "/v1/files?order=asc") == mine
    assert await ids(site, red, "/v1/files?purpose=batch") == newest_first[1::2]
    # One that the provider has dropped leaves no hole.
    del site.provider.objects["file"][mine[-1]]
    _, page, _ = await site.call("GET", "/v1/files?limit=3", red)
    assert [item["id"] for item in page["data"]] == newest_first[1:4]
    theirs = (await ids(site, blue, "/v1/files"))[0]
    assert (await site.call("GET", f"/v1/files?after={theirs}", red))[0] == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=10001", "order=up", "after=../x", "who=me", "limit=%EF%BC%91"]
)
async def test_a_lists_bad_parameter_is_named(site: Site, query: str) -> None:
    status, answer, _ = await site.call("GET", f"/v1/files?{query}", await site.key())
    assert (status, answer["error"]["code"]) == (400, "invalid_field")


async def test_a_batch_needs_a_file_of_ones_own_and_its_output_is_owned(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    file_id = await make_file(site, red)
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    status, answer, _ = await site.call("POST", "/v1/batches", blue, json=body)
    assert (status, answer["error"]["message"]) == (404, f"No such File object: {file_id}")
    status, batch, _ = await site.call("POST", "/v1/batches", red, json=body)
    assert (status, batch["status"]) == (200, "validating")
    output = site.provider.objects["batch"][batch["id"]]["output_file_id"]
    assert (await site.call("GET", f"/v1/files/{output}", red))[0] == 404
    # Seen by whomever: it is the batch's owner who owns it.
    assert (await site.call("GET", f"/v1/batches/{batch['id']}", MASTER))[1]["output_file_id"] == output
    assert (await site.call("GET", f"/v1/files/{output}/content", red))[1] == b'{"custom_id": "1"}\n'
    assert (await site.call("GET", f"/v1/files/{output}/content", blue))[0] == 404
    assert await ids(site, red, "/v1/batches") == [batch["id"]]
    assert await ids(site, blue, "/v1/batches") == []
    assert (await site.call("POST", f"/v1/batches/{batch['id']}/cancel", blue))[0] == 404
    assert (await site.call("POST", f"/v1/batches/{batch['id']}/cancel", red))[1]["status"] == "cancelling"


async def test_fine_tuning_jobs_with_all_their_sub_paths(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    file_id = await make_file(site, red, "fine-tune")
    body = {"model": "smart", "training_file": file_id, "seed": 7}
    assert (await site.call("POST", "/v1/fine_tuning/jobs", blue, json=body))[0] == 404
    other = {"model": "smart", "training_file": await make_file(site, blue), "validation_file": file_id}
    assert (await site.call("POST", "/v1/fine_tuning/jobs", blue, json=other))[0] == 404
    status, job, _ = await site.call("POST", "/v1/fine_tuning/jobs", red, json=body)
    assert (status, job["model"]) == (200, "smart")
    assert site.provider.received[-1].json["model"] == "gpt-4o-mini"
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    site.provider.objects["job"][job["id"]]["result_files"] = [await make_file(site, MASTER)]
    result = site.provider.objects["job"][job["id"]]["result_files"][0]
    for part in ("/events?limit=5&after=ftevent-1", "/checkpoints"):
        assert (await site.call("GET", path + part, red))[1]["object"] == "list"
        assert (await site.call("GET", path + part, blue))[0] == 404
    assert site.provider.received[-2].query == "limit=5&after=ftevent-1"
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert (await site.call("POST", f"{path}/{verb}", red))[1]["status"] == state
        assert (await site.call("POST", f"{path}/{verb}", blue))[0] == 404
    assert await ids(site, red, "/v1/fine_tuning/jobs") == [job["id"]]
    # An object that is recorded already keeps its owner.
    assert (await site.call("GET", path, red))[0] == 200
    assert (await site.call("GET", f"/v1/files/{result}", red))[0] == 404


async def test_uploads_in_parts_end_in_a_file_of_ones_own(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    body = {"filename": "a.jsonl", "purpose": "batch", "bytes": 3, "mime_type": "application/jsonl"}
    _, made, _ = await site.call("POST", "/v1/uploads", red, json=body)
    path = f"/v1/uploads/{made['id']}"
    assert (await site.call("POST", f"{path}/parts", blue, data=upload()))[0] == 404
    status, part, _ = await site.call("POST", f"{path}/parts", red, data=upload())
    assert status == 200
    _, done, _ = await site.call("POST", f"{path}/complete", red, json={"part_ids": [part["id"]]})
    assert await ids(site, red, "/v1/files") == [done["file"]["id"]]
    assert (await site.call("POST", f"{path}/cancel", red))[1]["status"] == "cancelled"


async def respond(site: Site, key: str, **fields: Any) -> tuple[int, Any]:
    status, answer, _ = await site.call("POST", "/v1/responses", key, json={"model": "smart", "input": "hi", **fields})
    return status, answer


async def test_stored_responses_are_read_continued_and_deleted_by_their_team_alone(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    _, made = await respond(site, red)
    path = f"/v1/responses/{made['id']}"
    assert (await site.call("GET", path, red))[1]["id"] == made["id"]
    assert (await site.call("GET", f"{path}/input_items", red))[1]["object"] == "list"
    assert (await site.call("GET", f"{path}?stream=true", red))[1].startswith(b"event: response.completed")
    assert (await respond(site, red, previous_response_id=made["id"]))[0] == 200
    for method, part in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        assert (await site.call(method, path + part, blue))[0] == 404
    status, answer = await respond(site, blue, previous_response_id=made["id"])
    assert (status, answer["error"]["message"]) == (404, f"Response with id '{made['id']}' not found.")
    item = made["output"][0]["id"]
    for reference in ({"type": "item_reference", "id": item}, {"id": item}, {"type": "reasoning", "id": item}):
        assert (await respond(site, blue, input=[reference]))[0] == 404
        assert (await respond(site, red, input=[reference]))[0] == 200
    assert (await site.call("POST", f"{path}/cancel", red))[1]["status"] == "cancelled"
    assert (await site.call("DELETE", path, red))[1]["deleted"]
    assert (await site.call("GET", path, red))[0] == 404


async def test_a_streamed_response_is_owned_from_its_first_event_on(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    assert (await site.call("POST", "/v1/responses", red, json={"model": "smart", "input": "x", "stream": True}))[
        0
    ] == 200
    (response_id,) = site.provider.objects["response"]
    assert (await site.call("GET", f"/v1/responses/{response_id}", red))[0] == 200
    assert (await site.call("GET", f"/v1/responses/{response_id}", blue))[0] == 404


async def test_files_in_a_responses_input_must_be_ones_own(site: Site) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    file_id = await make_file(site, red)
    content = [{"role": "user", "content": [{"type": "input_file", "file_id": file_id}]}]
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file_id]}}]
    search = [{"type": "file_search", "vector_store_ids": ["vs_1"]}]
    assert (await respond(site, red, input=content))[0] == 200
    assert (await respond(site, red, tools=tools))[0] == 200
    assert (await respond(site, blue, input=content))[0] == 404
    assert (await respond(site, blue, tools=tools))[0] == 404
    assert (await respond(site, blue, tools=search))[0] == 404
    assert (await respond(site, blue, metadata={"file_id": file_id}))[0] == 200
    # The same key twice: the provider is sent what was judged.
    raw = b'{"model": "smart", "input": "x", "previous_response_id": "resp_1", "previous_response_id": null}'
    status, _, _ = await site.call(
        "POST", "/v1/responses", blue, data=raw, headers={"content-type": "application/json"}
    )
    assert status == 200
    assert site.provider.received[-1].body.count(b"previous_response_id") == 1


async def test_a_key_without_the_word_stores_nothing(site: Site) -> None:
    plain = await site.key("red", endpoints=None)
    status, answer = await respond(site, plain)
    assert (status, answer["store"]) == (200, False)
    assert site.provider.received[-1].json["store"] is False
    assert site.provider.objects["response"] == {}
    for field, value in (
        ("store", True),
        ("background", True),
        ("previous_response_id", "resp_1"),
        ("conversation", "c"),
    ):
        status, answer = await respond(site, plain, **{field: value})
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (403, "endpoint_not_allowed", field)
    assert (await respond(site, plain, store="yes"))[0] == 400
    assert (await site.call("GET", "/v1/responses/resp_1", plain))[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("GET", "/v1/batches"),
        ("GET", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/uploads"),
        ("DELETE", "/v1/responses/resp_1"),
    ],
)
async def test_lasting_objects_are_for_keys_that_name_them(site: Site, method: str, path: str) -> None:
    status, answer, _ = await site.call(method, path, await site.key(endpoints=None))
    assert (status, answer["error"]["code"]) == (403, "endpoint_not_allowed")
    assert (await site.call(method, path, None))[0] == 401
    assert site.provider.received == []


async def test_what_may_have_been_made_is_not_made_twice(site: Site) -> None:
    red = await site.key("red")
    file_id = await make_file(site, red)
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}

    async def hang_up(request: Any) -> Any:
        await request.read()
        request.transport.abort()
        raise ConnectionResetError

    site.provider.faults.append(hang_up)
    before = len(site.provider.received)
    status, answer, _ = await site.call("POST", "/v1/batches", red, json=body)
    assert (status, answer["error"]["code"]) == (502, "upstream_reset_after_write")
    assert len(site.provider.received) == before + 1
    site.provider.faults.append(fail(503))
    assert (await site.call("POST", "/v1/batches", red, json=body))[0] == 200
