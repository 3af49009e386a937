"""Files of other teams cannot be had through chat, whichever lane and API a request comes by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.services.ownership.service import Owner, Ownership
from tests.integration.passthrough.conftest import MASTER, Site
from tests.integration.passthrough.test_ownership import make_file

CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/anthropic/v1/messages", "/v1/messages/count_tokens"
JSON = {"content-type": "application/json"}


def body_of(path: str, file_id: str, model: str) -> dict[str, Any]:
    if path == CHAT:
        part: dict[str, Any] = {"type": "file", "file": {"file_id": file_id}}
        return {"model": model, "messages": [{"role": "user", "content": [part]}]}
    part = {"type": "document", "source": {"type": "file", "file_id": file_id}}
    made: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": [part]}]}
    return made if path == COUNT else {**made, "max_tokens": 9}


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body of no known length, which the hot lane leaves to the other."""
    yield body


async def ask(site: Site, path: str, key: str, body: bytes, *, hot: bool = True) -> tuple[int, Any]:
    data = body if hot else in_pieces(body)
    status, answer, _ = await site.call("POST", path, key, data=data, headers=JSON)
    return status, answer


@pytest.mark.parametrize("hot", [True, False], ids=["hot lane", "slow lane"])
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
async def test_a_file_is_used_in_chat_by_its_team_alone(site: Site, hot: bool, escaped: bool) -> None:
    red, same, blue = await site.key("red"), await site.key("red"), await site.key("blue")
    plain = await site.key("red", endpoints=None)
    body = orjson.dumps(body_of(CHAT, await make_file(site, red), "smart"))
    if escaped:
        body = body.replace(b'"file_id"', b'"file\\u005fid"')
    before = len(site.provider.received)
    status, answer = await ask(site, CHAT, blue, body, hot=hot)
    assert (status, answer["error"]["code"]) == (404, "not_found")
    status, answer = await ask(site, CHAT, plain, body, hot=hot)
    assert (status, answer["error"]["code"]) == (403, "endpoint_not_allowed")
    assert len(site.provider.received) == before
    for key in (red, same, MASTER):
        assert (await ask(site, CHAT, key, body, hot=hot))[0] == 200
    assert len(site.provider.received) == before + 3


async def test_a_file_goes_only_to_the_provider_that_has_it(site: Site) -> None:
    red = await site.key("red")
    file_id = await make_file(site, red)
    status, answer = await ask(site, CHAT, red, orjson.dumps(body_of(CHAT, file_id, "mixed")))
    assert status == 200
    assert site.provider.received[-1].json["model"] == "gpt-4o-mini"  # not the llama that comes first
    for path in (CHAT, MESSAGES):
        status, answer = await ask(site, path, red, orjson.dumps(body_of(path, file_id, "plain")))
        assert status == 400
        assert "lie at the provider 'lab'" in answer["error"]["message"]


@pytest.mark.parametrize("path", [MESSAGES, COUNT, "/v1/messages"])
@pytest.mark.parametrize("model", ["claude", "smart"])
async def test_nor_is_another_teams_file_to_be_had_by_way_of_messages(site: Site, path: str, model: str) -> None:
    red, blue = await site.key("red"), await site.key("blue")
    file_id = await make_file(site, red)
    at_claude = "file_011claude"
    red_id = (await site.worker.keys.find(red)).team_id
    await Ownership(site.worker.postgres).record(Owner(red_id, None), "claude", [("file", at_claude)])
    before = len(site.provider.received)
    for named in (file_id, at_claude, "file-nobody"):
        for hot in (True, False):
            status, answer = await ask(site, path, blue, orjson.dumps(body_of(path, named, model)), hot=hot)
            assert (status, answer["error"]["type"]) == (404, "not_found_error")
    assert len(site.provider.received) == before
    if model == "claude":
        await ask(site, path, red, orjson.dumps(body_of(path, at_claude, model)))
        assert site.provider.received[-1].json["messages"][0]["content"][0]["source"]["file_id"] == at_claude


async def test_a_stored_completion_needs_the_word_that_stored_responses_need(site: Site) -> None:
    plain, storing = await site.key("red", endpoints=None), await site.key("red")
    said = {"model": "smart", "messages": [{"role": "user", "content": "x"}]}
    status, answer = await ask(site, CHAT, plain, orjson.dumps({**said, "store": True}))
    assert (status, answer["error"]["param"]) == (403, "store")
    hidden = orjson.dumps({**said, "store": True})[:-1] + b',"store":false}'
    assert (await ask(site, CHAT, plain, hidden))[0] == 200
    assert site.provider.received[-1].body.count(b'"store"') == 1
    assert site.provider.received[-1].json["store"] is False
    assert (await ask(site, CHAT, storing, orjson.dumps({**said, "store": True})))[0] == 200
    assert site.provider.received[-1].json["store"] is True
