"""Golden cases: request, outgoing request, upstream's answer, reply. Found by glob; see tests/golden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.wire.openai import CHAT, EMBEDDINGS, Variations, encode_request, read_request, wants_usage
from gateway.wire.openai_answer import StreamTap, read_answer, read_error
from gateway.wire.sse import DONE
from gateway.wire.usage import Usage

CASES = sorted((Path(__file__).parents[2] / "golden" / "openai").glob("*/case.json"))


def test_there_are_cases() -> None:
    assert len(CASES) >= 10


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_a_golden_case_comes_out_byte_for_byte(path: Path) -> None:
    folder = path.parent
    case: dict[str, Any] = orjson.loads(path.read_bytes())
    request = (folder / "request.json").read_bytes()
    endpoint = EMBEDDINGS if "embeddings" in folder.name else CHAT
    document = read_request(endpoint, request)
    outgoing = encode_request(request, document, case["target_model"], Variations(**case.get("variations", {})))
    assert outgoing == (folder / "outgoing.json").read_bytes()
    rename_to = document["model"] if document["model"] != case["target_model"] else None
    usage: Usage | None
    if document.get("stream"):
        upstream, expected = (folder / "upstream.sse").read_bytes(), (folder / "reply.sse").read_bytes()
        for step in (1, 7, 100, len(upstream)):
            tap = StreamTap(rename_to=rename_to, withhold_usage=not wants_usage(document))
            reply = b"".join(tap.feed(upstream[at : at + step]) for at in range(0, len(upstream), step))
            tap.finish()
            assert tap.error is None
            assert reply + (DONE if tap.done else b"") == expected
            usage = tap.usage
    elif case["status"] >= 400:
        reply = read_error("p", case["status"], (folder / "upstream.json").read_bytes()).body("id")
        assert reply == (folder / "reply.json").read_bytes()
        return
    else:
        reply, usage = read_answer((folder / "upstream.json").read_bytes(), rename_to)
        assert reply == (folder / "reply.json").read_bytes()
    if "usage" in case:
        assert usage == Usage(**case["usage"])
