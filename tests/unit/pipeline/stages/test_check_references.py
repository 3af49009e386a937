"""What a body of the pipeline refers to must be the caller's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.references import References
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.check_references import CheckReferences
from gateway.services.keys.key import Key
from gateway.services.ownership.service import Owned, Owner
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import MESSAGES, RERANK
from gateway.wire.openai import CHAT
from tests.unit.upstream.fakes import FakeLine, target, whole

FILES = Key("k1", "files", team_id="red", endpoints=frozenset({"chat", "files"}))
PLAIN = Key("k2", "plain", team_id="red")
STORING = Key("k3", "storing", team_id="red", endpoints=frozenset({"chat", "responses_stored"}))
MASTER = Key(None, "master", is_master=True)
PART = {"type": "file", "file": {"file_id": "file-1"}}


class FakeOwnership:
    """Everything in `own` is everybody's, at the provider that it names; everything in `others` somebody else's."""

    def __init__(self, own: dict[str, str], others: frozenset[str] = frozenset()) -> None:
        self.own, self.others = own, others
        self.asked: list[tuple[str, str]] = []

    async def find_all(self, owner: Owner, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Owned]:
        self.asked += names
        return {name: Owned(*name, self.own[name[1]], owner) for name in names if name[1] in self.own}

    async def of_others(self, owner: Owner, names: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        self.asked += names
        return [name for name in names if name[1] in self.others]


def call(key: Key, body: bytes | dict[str, Any], endpoint: Endpoint = CHAT) -> Call:
    raw = orjson.dumps(body) if isinstance(body, dict) else body
    made = Call(endpoint, {}, raw, "127.0.0.1")
    made.document = orjson.loads(raw)
    made.key = key
    made.targets = [target(FakeLine(whole()), name) for name in ("here", "there")]
    made.context_fallbacks = [target(FakeLine(whole()), name) for name in ("there", "elsewhere")]
    return made


def saying(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(content)}], **fields}


def stage(others: frozenset[str] = frozenset(), **own: str) -> tuple[CheckReferences, FakeOwnership]:
    ownership = FakeOwnership({name.replace("_", "-"): provider for name, provider in own.items()}, others)
    return CheckReferences(References(ownership)), ownership  # type: ignore[arg-type]


async def test_a_request_goes_where_its_files_lie_and_so_do_its_fallbacks() -> None:
    checking, _ = stage(file_1="there")
    one = call(FILES, saying(PART))
    await take_turn(checking, one)
    assert [found.provider for found in one.targets] == ["there"]
    assert [found.provider for found in one.context_fallbacks] == ["there"]
    checking, _ = stage(file_1="nowhere")
    with pytest.raises(GatewayError) as refused:
        await take_turn(checking, call(FILES, saying(PART)))
    assert refused.value.code == "no_provider"


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(saying(PART)),
        orjson.dumps(saying(PART)).replace(b"file_id", b"file\\u005fid"),
        orjson.dumps(saying(PART)).replace(b"file_id", b"\\u0066ile_id"),
        orjson.dumps(saying(PART)).replace(b'"file_id":', b'"file_id" :\n'),
        orjson.dumps(saying({"type": "document", "source": {"type": "file", "file_id": "file-1"}})),
        orjson.dumps(saying({"type": "container_upload", "file_id": "file-1"})),
        orjson.dumps(saying({"type": "tool_result", "content": [{"source": {"file_id": "file-1"}}]})),
        orjson.dumps(saying({"type": "image_file", "image_file": {"file_id": "file-1"}})),
        orjson.dumps(saying("x", tools=[{"type": "x", "file_ids": ["file-1"]}])),
        orjson.dumps(saying("x", tools=[{"type": "file_search", "vector_store_ids": ["file-1"]}])),
        orjson.dumps(saying("x", container={"id": "file-1", "skills": []})),
        orjson.dumps(saying("x", container="file-1")),
        orjson.dumps(saying("x", previous_response_id="file-1")),
        # What stands for the document as a whole is no part of it that could be passed over.
        orjson.dumps({"type": "tool_use", "input": {"file_id": "file-1"}, **saying("x")}),
    ],
)
@pytest.mark.parametrize("endpoint", [CHAT, MESSAGES])
async def test_whatever_is_not_the_callers_own_is_missing(body: bytes, endpoint: Endpoint) -> None:
    checking, ownership = stage()
    with pytest.raises(GatewayError) as refused:
        await take_turn(checking, call(FILES, body, endpoint))
    assert (refused.value.code, refused.value.status) == ("not_found", 404)
    assert ownership.asked
    await take_turn(checking, call(MASTER, body, endpoint))  # whom everything is open to


async def test_a_key_without_the_word_is_refused_and_nobody_is_asked() -> None:
    checking, ownership = stage(file_1="here")
    with pytest.raises(GatewayError) as refused:
        await take_turn(checking, call(PLAIN, saying(PART)))
    assert (refused.value.code, refused.value.status) == ("endpoint_not_allowed", 403)
    assert "'files'" in refused.value.message
    assert ownership.asked == []


@pytest.mark.parametrize("first", [b'"file-2"', b'"file-1"', b"7"])
async def test_of_two_equal_keys_the_provider_is_sent_the_one_that_was_looked_at(first: bytes) -> None:
    checking, _ = stage(file_1="here")
    raw = orjson.dumps(saying(PART)).replace(b'"file_id":', b'"file_id":%b,"file_id":' % first)
    one = call(FILES, raw)
    await take_turn(checking, one)
    assert one.body.count(b"file_id") == 1
    assert orjson.loads(one.body) == saying(PART)
    others = raw.replace(b'"file_id":"file-1"}', b'"file_id":"file-2"}')
    with pytest.raises(GatewayError):
        await take_turn(checking, call(FILES, others))


@pytest.mark.parametrize(
    "body",
    [
        saying("the word file_id in a text"),
        saying({"type": "text", "text": '{"file_id": "file-1"}'}),
        saying("x", metadata={"file_id": "file-1"}),
        saying("x", tools=[{"type": "function", "function": {"parameters": {"properties": {"file_id": {}}}}}]),
        saying("x", tools=[{"name": "f", "input_schema": {"properties": {"file_id": {"const": "file-1"}}}}]),
        saying({"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "file-1"}}),
        saying({"type": "server_tool_use", "id": "t", "name": "f", "input": {"file_ids": ["file-1"]}}),
        saying("x", container={"skills": []}),
        saying("x", container=None),
        saying("x", store=False),
        saying("x", store=None),
    ],
)
async def test_the_clients_own_data_refers_to_nothing(body: dict[str, Any]) -> None:
    checking, ownership = stage()
    for key in (FILES, PLAIN):
        await take_turn(checking, call(key, body))
    assert ownership.asked == []


async def test_a_file_that_a_tool_has_made_may_be_told_of_unless_it_is_anothers() -> None:
    output = {"type": "bash_code_execution_output", "file_id": "file-1"}
    body = saying({"type": "bash_code_execution_tool_result", "content": {"content": [output]}})
    await take_turn(stage()[0], call(PLAIN, body, MESSAGES))
    with pytest.raises(GatewayError) as refused:
        await take_turn(stage(frozenset({"file-1"}))[0], call(PLAIN, body, MESSAGES))
    assert refused.value.code == "not_found"


async def test_documents_to_be_ranked_are_data() -> None:
    checking, ownership = stage()
    body = {"model": "m", "query": "x", "documents": [{"text": "a", "file_id": "file-1"}]}
    await take_turn(checking, call(PLAIN, body, RERANK))
    assert ownership.asked == []


async def test_only_a_key_with_the_word_has_an_answer_stored() -> None:
    checking, _ = stage()
    with pytest.raises(GatewayError) as refused:
        await take_turn(checking, call(FILES, saying("x", store=True)))
    assert (refused.value.code, refused.value.param) == ("endpoint_not_allowed", "store")
    for key in (STORING, MASTER):
        await take_turn(checking, call(key, saying("x", store=True)))
    with pytest.raises(GatewayError) as refused:
        await take_turn(checking, call(STORING, saying("x", store="yes")))
    assert (refused.value.code, refused.value.param) == ("invalid_field", "store")
