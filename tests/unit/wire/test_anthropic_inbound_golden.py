"""Golden cases of the Anthropic inbound, found by glob under tests/golden/anthropic_inbound/<case>/.

`case.json` says what it is about, and the `usage` to be told. `request.json` is the client's request, `canonical.json`
what it becomes (or `refusal.json`: code, param, message and the `body` that the client reads). `answer.json` is a
canonical answer with `reply.json`, its message; `chunks.json` are a stream's chunks with `reply.sse`, its events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.usage import Usage
from tests.unit.wire.test_anthropic_inbound_grammar import read_stream

CASES = sorted((Path(__file__).parents[2] / "golden" / "anthropic_inbound").glob("*/case.json"))


def read(folder: Path, name: str) -> Any:
    return orjson.loads((folder / name).read_bytes())


def test_there_are_cases() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_a_golden_case_comes_out_as_written(path: Path) -> None:
    folder = path.parent
    case = read(folder, "case.json")
    request = INBOUND.read_request((folder / "request.json").read_bytes())
    if (folder / "refusal.json").exists():
        with pytest.raises(GatewayError) as caught:
            INBOUND.canonical(request)
        error = caught.value
        body = orjson.loads(INBOUND.error_body(error, "req_golden"))
        assert {"code": error.code, "param": error.param, "status": error.status, "body": body} == read(
            folder, "refusal.json"
        )
        return
    assert INBOUND.canonical(request) == read(folder, "canonical.json")
    assert request == read(folder, "request.json"), "the request was changed"
    usage = Usage(**case["usage"]) if "usage" in case else None
    if (folder / "answer.json").exists():
        rendered = INBOUND.render(read(folder, "answer.json"), usage, request)
        assert orjson.loads(rendered) == read(folder, "reply.json")
    if (folder / "chunks.json").exists():
        encoder = INBOUND.encoder(request)
        stream = b"".join([*map(encoder.encode, read(folder, "chunks.json")), encoder.finish(usage)])
        assert stream == (folder / "reply.sse").read_bytes()
        read_stream(stream)
