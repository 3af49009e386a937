"""Kept responses on a real PostgreSQL: chains, owners, references, pages, limits and their end."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.services.responses.service import ResponseLimits, Responses
from gateway.store.postgres import Postgres
from gateway.wire.responses_history import resolved, stored_items
from gateway.wire.responses_inbound import INBOUND


@dataclass(frozen=True)
class Asker:
    team_id: str | None = None
    key_id: str | None = None
    sees_all: bool = False


MASTER = Asker(sees_all=True)


@pytest.fixture
def responses(postgres: Postgres) -> Responses:
    return Responses(postgres)


async def make_team(postgres: Postgres) -> str:
    return str(await postgres.fetchval("INSERT INTO teams (name) VALUES ($1) RETURNING id", uuid.uuid4().hex))


async def make_key(postgres: Postgres, team_id: str | None = None, rotated_from: str | None = None) -> Asker:
    print_ = b"fingerprint"
    await postgres.execute("INSERT INTO gateway_secret (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING", print_)
    key_id = await postgres.fetchval(
        "INSERT INTO api_keys (name, key_hash, secret_fingerprint, key_hint, team_id, rotated_from)"
        " VALUES ('k', $1, $2, '…', $3::uuid, $4::uuid) RETURNING id",
        *(os.urandom(32), print_, team_id, rotated_from),
    )
    return Asker(team_id, str(key_id))


def item(item_id: str, text: str = "hi", role: str = "user") -> dict[str, Any]:
    part = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "id": item_id, "role": role, "content": [{"type": part, "text": text}]}


def response(response_id: str, *output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": response_id, "object": "response", "store": True, "output": list(output), **fields}


async def refusal(work: Any) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await work
    return raised.value


async def test_a_conversation_is_its_items_oldest_first(responses: Responses, postgres: Postgres) -> None:
    key = await make_key(postgres)
    previous = None
    for turn in range(3):
        name = f"resp_{turn}"
        said = response(name, item(f"msg_out{turn}", role="assistant"), previous_response_id=previous)
        assert await responses.store(name, key, [item(f"msg_in{turn}")], said, previous)
        previous = name
    conversation = await responses.load_conversation("resp_2", key)
    assert conversation is not None
    assert [entry["id"] for entry in conversation] == [f"msg_{way}{turn}" for turn in range(3) for way in ("in", "out")]
    branch = await responses.load_conversation("resp_1", key)
    assert branch is not None
    assert len(branch) == 4
    assert (await responses.get("resp_1", key) or {})["previous_response_id"] == "resp_0"


async def test_what_is_kept_comes_back_exactly(responses: Responses) -> None:
    awkward = item("msg_1", "nul \0, snow ☃, \U0001f600")
    awkward["zebra"], awkward["ant"] = 1.10, [None, 2**60]
    assert await responses.store("resp_1", MASTER, [awkward], response("resp_1", awkward))
    assert await responses.load_conversation("resp_1", MASTER) == [awkward, awkward]
    assert list((await responses.load_conversation("resp_1", MASTER) or [])[0]) == list(awkward)


async def test_nothing_is_written_for_store_false(responses: Responses, postgres: Postgres) -> None:
    assert not await responses.store("resp_1", MASTER, [item("a")], response("resp_1", store=False))
    assert await postgres.fetchval("SELECT count(*) FROM gateway_responses") == 0


async def test_an_id_that_is_taken_is_never_overwritten(responses: Responses, postgres: Postgres) -> None:
    mine, other = await make_key(postgres), await make_key(postgres)
    assert await responses.store("resp_1", mine, [item("a")], response("resp_1", status="completed"))
    assert not await responses.store("resp_1", other, [item("b")], response("resp_1", status="failed"))
    assert (await responses.get("resp_1", mine) or {})["status"] == "completed"
    assert await responses.get("resp_1", other) is None


async def test_a_team_shares_and_nobody_else_learns_that_it_is_there(responses: Responses, postgres: Postgres) -> None:
    team = await make_team(postgres)
    mine, mate = await make_key(postgres, team), await make_key(postgres, team)
    strangers = [await make_key(postgres), await make_key(postgres, await make_team(postgres)), Asker()]
    await responses.store("resp_1", mine, [item("msg_1")], response("resp_1"))
    for owner in (mine, mate, MASTER):
        assert await responses.get("resp_1", owner) is not None
        assert await responses.load_conversation("resp_1", owner) == [item("msg_1")]
        assert await responses.find_items(owner, ["msg_1"]) == {"msg_1": item("msg_1")}
    for stranger in strangers:
        assert await responses.get("resp_1", stranger) is None
        assert await responses.load_conversation("resp_1", stranger) is None
        assert await responses.input_items("resp_1", stranger) is None
        assert await responses.find_items(stranger, ["msg_1"]) == {}
        assert not await responses.delete("resp_1", stranger)
    assert await responses.delete("resp_1", mate)
    assert await responses.get("resp_1", mine) is None


async def test_a_key_without_a_team_owns_alone_and_its_successor_after_it(
    responses: Responses, postgres: Postgres
) -> None:
    old, other = await make_key(postgres), await make_key(postgres)
    new = await make_key(postgres, rotated_from=old.key_id)
    await responses.store("resp_1", old, [], response("resp_1"))
    await responses.store("resp_2", new, [], response("resp_2"), "resp_1")
    for owner in (old, new):
        assert await responses.load_conversation("resp_2", owner) == []
    assert await responses.load_conversation("resp_2", other) is None


async def test_what_the_master_key_made_is_seen_by_it_alone(responses: Responses, postgres: Postgres) -> None:
    key = await make_key(postgres)
    await responses.store("resp_1", Asker(key.team_id, key.key_id, sees_all=True), [], response("resp_1"))
    assert await responses.get("resp_1", key) is None
    assert await responses.get("resp_1", MASTER) is not None


async def test_a_chain_that_runs_through_anothers_response_is_not_to_be_had(
    responses: Responses, postgres: Postgres
) -> None:
    mine, other = await make_key(postgres), await make_key(postgres)
    await responses.store("resp_1", other, [item("secret")], response("resp_1"))
    await responses.store("resp_2", mine, [item("a")], response("resp_2"), "resp_1")
    assert await responses.load_conversation("resp_2", mine) is None
    assert await responses.get("resp_2", mine) is not None


async def test_a_chain_with_a_deleted_link_is_not_to_be_had(responses: Responses) -> None:
    await responses.store("resp_1", MASTER, [], response("resp_1"))
    await responses.store("resp_2", MASTER, [], response("resp_2"), "resp_1")
    assert await responses.delete("resp_1", MASTER)
    assert not await responses.delete("resp_1", MASTER)
    assert await responses.load_conversation("resp_2", MASTER) is None


async def test_a_response_that_names_itself_does_not_go_round_for_ever(postgres: Postgres) -> None:
    responses = Responses(postgres, ResponseLimits(max_conversation_responses=5))
    await responses.store("resp_1", MASTER, [], response("resp_1"), "resp_1")
    assert (await refusal(responses.load_conversation("resp_1", MASTER))).param == "previous_response_id"


@pytest.mark.parametrize(
    ("limits", "held"),
    [(ResponseLimits(max_conversation_responses=3), 3), (ResponseLimits(max_conversation_bytes=1000), 4)],
)
async def test_a_conversation_above_the_limits_is_refused(
    postgres: Postgres, limits: ResponseLimits, held: int
) -> None:
    responses = Responses(postgres, limits)
    previous = None
    for turn in range(held + 1):
        name = f"resp_{turn}"
        await responses.store(name, MASTER, [item(f"m{turn}", "x" * 60)], response(name), previous)
        previous = name
    assert len(await responses.load_conversation(f"resp_{held - 1}", MASTER) or []) == held
    error = await refusal(responses.load_conversation(f"resp_{held}", MASTER))
    assert (error.code, error.param) == ("invalid_field", "previous_response_id")


async def test_what_is_too_large_to_be_kept_is_refused_beforehand_and_not_written(postgres: Postgres) -> None:
    responses = Responses(postgres, ResponseLimits(max_response_bytes=300))
    await responses.check([item("a")])
    assert (await refusal(responses.check([item("a", "x" * 300)]))).code == "body_too_large"
    large = response("resp_1", item("b", "x" * 200))
    assert (await refusal(responses.store("resp_1", MASTER, [item("a")], large))).status == 413
    assert await postgres.fetchval("SELECT count(*) FROM gateway_responses") == 0


async def test_what_is_no_json_is_refused(responses: Responses) -> None:
    assert (await refusal(responses.store("resp_1", MASTER, [item("a", "\ud800")], response("r")))).status == 400


async def test_an_item_is_found_by_its_id_in_the_latest_response_that_has_it(
    responses: Responses, postgres: Postgres
) -> None:
    key = await make_key(postgres)
    await responses.store("resp_1", key, [item("msg_in")], response("resp_1", item("msg_out", "one", "assistant")))
    await responses.store("resp_2", key, [item("msg_in", "again")], response("resp_2"))
    await postgres.execute(
        "UPDATE gateway_responses SET created_at = now() - interval '1 h' WHERE response_id = 'resp_1'"
    )
    found = await responses.find_items(key, ["msg_in", "msg_out", "msg_none", "odd\0id", "x" * 300])
    assert found == {"msg_in": item("msg_in", "again"), "msg_out": item("msg_out", "one", "assistant")}
    assert await responses.find_items(key, []) == {}


async def test_items_beyond_the_limits_are_not_found(postgres: Postgres) -> None:
    large = Responses(postgres)
    await large.store("resp_1", MASTER, [item("a", "x" * 500)], response("resp_1"))
    small = Responses(postgres, ResponseLimits(max_conversation_bytes=400))
    assert await small.find_items(MASTER, ["a"]) == {}


async def test_input_items_come_in_pages_either_way(responses: Responses) -> None:
    items = [item(f"msg_{index}") for index in range(5)]
    await responses.store("resp_1", MASTER, items, response("resp_1", item("msg_out", role="assistant")))
    page = await responses.input_items("resp_1", MASTER, limit=2)
    assert page is not None
    assert page.document() == {
        "object": "list",
        "data": [items[4], items[3]],
        "first_id": "msg_4",
        "last_id": "msg_3",
        "has_more": True,
    }
    page = await responses.input_items("resp_1", MASTER, limit=3, after="msg_3")
    assert page is not None
    assert (page.items, page.has_more) == ([items[2], items[1], items[0]], False)
    page = await responses.input_items("resp_1", MASTER, order="asc", after="msg_2")
    assert page is not None
    assert (page.items, page.has_more) == (items[3:], False)
    page = await responses.input_items("resp_1", MASTER, order="asc", after="msg_4")
    assert page is not None
    assert page.document() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order"), ({"after": "none"}, "after")],
)
async def test_a_page_that_makes_no_sense_is_refused(responses: Responses, asked: dict[str, Any], param: str) -> None:
    await responses.store("resp_1", MASTER, [item("a")], response("resp_1"))
    error = await refusal(responses.input_items("resp_1", MASTER, **asked))
    assert (error.code, error.param) == ("invalid_field", param)


@pytest.mark.parametrize("response_id", ["resp_none", "", "odd\0id", "lone \ud800", "x" * 300, "a/../b"])
async def test_an_id_that_nobody_has_is_just_not_found(responses: Responses, response_id: str) -> None:
    assert await responses.get(response_id, MASTER) is None
    assert await responses.load_conversation(response_id, MASTER) is None
    assert await responses.input_items(response_id, MASTER) is None
    assert not await responses.delete(response_id, MASTER)


async def test_ids_that_no_text_column_takes_do_no_harm(responses: Responses) -> None:
    odd = {"type": "message", "id": "odd\0id"}
    assert await responses.store("resp_1", MASTER, [odd, {"id": 7}, {"id": None}], response("resp_1", odd))
    assert await responses.load_conversation("resp_1", MASTER) == [odd, {"id": 7}, {"id": None}, odd]


async def test_what_is_past_its_time_is_gone_at_once_and_pruned_for_good(postgres: Postgres) -> None:
    brief, lasting = Responses(postgres, ResponseLimits(retention_s=0)), Responses(postgres)
    for index in range(3):
        await brief.store(f"resp_{index}", MASTER, [item(f"m{index}")], response(f"resp_{index}"))
    await lasting.store("resp_new", MASTER, [item("n")], response("resp_new"), "resp_2")
    assert await lasting.get("resp_0", MASTER) is None
    assert await lasting.find_items(MASTER, ["m0"]) == {}
    assert await lasting.load_conversation("resp_new", MASTER) is None
    assert not await lasting.delete("resp_0", MASTER)
    assert await lasting.prune() == 3
    assert await lasting.prune() == 0
    assert await postgres.fetchval("SELECT array_agg(response_id) FROM gateway_responses") == ["resp_new"]


async def test_a_response_is_kept_for_thirty_days_unless_told_otherwise(
    responses: Responses, postgres: Postgres
) -> None:
    await responses.store("resp_1", MASTER, [], response("resp_1"))
    days = await postgres.fetchval(
        "SELECT extract(epoch FROM expires_at - created_at)::float8 / 86400 FROM gateway_responses"
    )
    assert days == pytest.approx(30)


async def test_more_than_a_batch_is_pruned_in_one_call(postgres: Postgres) -> None:
    await postgres.execute(
        "INSERT INTO gateway_responses (response_id, input, response, item_ids, expires_at)"
        " SELECT 'resp_' || n, '[]', '{}', '{}', now() - interval '1 s' FROM generate_series(1, 2500) AS n"
    )
    assert await Responses(postgres).prune() == 2500


async def test_a_database_that_is_away_is_said_to_be(responses: Responses, postgres: Postgres) -> None:
    await postgres.pool.close()
    for work in (responses.get("resp_1", MASTER), responses.check([]), responses.prune()):
        assert (await refusal(work)).code == "store_unavailable"


async def test_the_next_request_says_all_that_was_said_before(responses: Responses) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    thought = [{"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "f", "index": 0}]
    said = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "reasoning_details": thought}
    answers = [{**said, "tool_calls": [call]}, {"role": "assistant", "content": "Blue."}]
    asked: list[Any] = ["The sky?", [{"type": "function_call_output", "call_id": "call_1", "output": "blue"}], "Sure?"]
    previous: str | None = None
    for turn, given in enumerate(asked):
        request = {"model": "m", "input": given, "previous_response_id": previous}
        document = INBOUND.read_request(orjson.dumps({name: value for name, value in request.items() if value}))
        earlier = await responses.load_conversation(previous, MASTER) if previous else []
        assert earlier is not None
        messages = INBOUND.canonical(resolved(document, earlier))["messages"]
        if turn == len(answers):
            break
        previous = f"resp_{turn}"
        answer = {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [{"message": answers[turn]}]}
        made = INBOUND.with_id(previous).response(answer, None, document)
        items = stored_items(document, previous)
        assert await responses.store(previous, MASTER, items, made, made["previous_response_id"])
    assert messages == [
        {"role": "user", "content": "The sky?"},
        answers[0],
        {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
        answers[1],
        {"role": "user", "content": "Sure?"},
    ]
