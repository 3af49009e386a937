"""Ids that can be none are missing: whatever a client writes in their place, the gateway answers, and not with 500."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.passthrough.conftest import Site


def _input(*items: dict[str, Any]) -> dict[str, Any]:
    return {"model": "smart", "input": list(items)}


def bodies(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Every place of a body in which an id may stand, with this in it."""
    part = {"type": "input_file", "file_id": text}
    said = {"role": "user", "content": [{"type": "file", "file": {"file_id": text}}]}
    source = {"type": "document", "source": {"type": "file", "file_id": text}}
    batch = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    responses = "/v1/responses"
    return [
        (responses, _input({"role": "user", "content": [part]})),
        (responses, {**_input({"role": "user", "content": [part]}), "model": "plain"}),
        (responses, _input({"type": "item_reference", "id": text})),
        (responses, {**_input({"type": "item_reference", "id": text}), "model": "plain"}),
        (responses, {"model": "smart", "input": "x", "previous_response_id": text}),
        (responses, {"model": "plain", "input": "x", "previous_response_id": text}),
        (responses, {"model": "smart", "input": "x", "conversation": {"id": text}}),
        ("/v1/batches", {**batch, "input_file_id": text}),
        ("/v1/fine_tuning/jobs", {"model": "smart", "training_file": text}),
        ("/v1/fine_tuning/jobs", {"model": "smart", "training_file": "file-0", "validation_file": text}),
        ("/v1/chat/completions", {"model": "smart", "messages": [said]}),
        ("/v1/messages", {"model": "smart", "max_tokens": 9, "messages": [{"role": "user", "content": [source]}]}),
        ("/v1/messages/count_tokens", {"model": "smart", "messages": [{"role": "user", "content": [source]}]}),
    ]


async def statuses(site: Site, key: str, text: str) -> list[int]:
    found = []
    for path, body in bodies(text):
        headers = {"content-type": "application/json"}
        found.append((await site.call("POST", path, key, data=orjson.dumps(body), headers=headers))[0])
    return found


@pytest.mark.parametrize("text", ["\0", "file-\0", "\x7f", "\u2028", "x" * 300, "x" * 100_000])
async def test_what_can_be_no_id_is_missing_everywhere(site: Site, text: str) -> None:
    assert set(await statuses(site, await site.key("red"), text)) == {404}
    assert site.provider.received == []


async def test_nor_does_it_hurt_a_key_that_may_do_little(site: Site) -> None:
    assert set(await statuses(site, await site.key("red", endpoints=None), "\0")) <= {403, 404}


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=10))
async def test_any_text_is_an_id_or_missing(site: Site, text: str) -> None:
    found = await statuses(site, await site.key(), text)
    assert all(status < 500 for status in found), found


async def test_ids_that_a_provider_makes_up_do_not_break_an_answer(site: Site) -> None:
    key = await site.key("red")
    site.provider.objects["file"]["file-9"] = {"id": "file-\0", "object": "file", "filename": "x"}
    await site.worker.postgres.execute(
        "INSERT INTO gateway_objects (kind, object_id, provider, team_id) SELECT 'file', 'file-9', 'lab', id FROM teams"
    )
    assert (await site.call("GET", "/v1/files/file-9", key))[0] == 200
