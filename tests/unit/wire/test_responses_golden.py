"""Golden cases of the Responses API, found by glob under tests/golden/responses/<case>/.

`case.json` says what it is about, and the `usage` and `response_id` where there are some. `request.json` is the
client's body, `canonical.json` the chat request that it becomes, or the error (`code`, `param`, `message`).
`answer.json` is a canonical answer and `reply.json` the response object; `chunks.json` are a stream's canonical
chunks and `reply.sse` its events, the last two of which tell of the `error` of the case, if it has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.responses_inbound import INBOUND
from gateway.wire.usage import Usage
from tests.unit.wire.test_responses_grammar import Reader, check_with_sdk, events_of

CASES = sorted((Path(__file__).parents[2] / "golden" / "responses").glob("*/case.json"))


def read(folder: Path, name: str) -> Any:
    return orjson.loads((folder / name).read_bytes())


def test_there_are_cases() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_a_golden_case_comes_out_as_written(path: Path) -> None:
    folder = path.parent
    case = read(folder, "case.json")
    inbound = INBOUND.with_id(case["response_id"]) if "response_id" in case else INBOUND
    document = inbound.read_request((folder / "request.json").read_bytes())
    expected = read(folder, "canonical.json")
    if "code" in expected:
        with pytest.raises(GatewayError) as raised:
            inbound.canonical(document)
        error = raised.value
        assert {"code": error.code, "param": error.param, "message": error.message} == expected
        return
    assert inbound.canonical(document) == expected
    assert document == read(folder, "request.json"), "the request was changed"
    usage = Usage(**case["usage"]) if "usage" in case else None
    if (folder / "answer.json").exists():
        made = orjson.loads(inbound.render(read(folder, "answer.json"), usage, document))
        assert made == read(folder, "reply.json")
        check_with_sdk({"type": "response.completed", "sequence_number": 0, "response": made})
    else:
        check_stream(inbound.encoder(document), folder, case, usage)


def check_stream(encoder: Any, folder: Path, case: dict[str, Any], usage: Usage | None) -> None:
    stream = b"".join(map(encoder.encode, read(folder, "chunks.json")))
    if "error" in case:
        stream += encoder.fail(GatewayError(**case["error"]), "req_golden")
    else:
        stream += encoder.finish(usage)
    assert stream == (folder / "reply.sse").read_bytes()
    events = events_of(stream)
    assert Reader(overlapping=frozenset(case.get("overlapping", ()))).read_all(events) == encoder.response
    for event in events:
        check_with_sdk(event)
