"""Golden cases of the dialects, found by glob under tests/golden/<dialect>/<case>/.

`case.json` says what it is about and the `Ask` beside the request (`operation`, `model`, `shown_model`, `stream`,
`options`, `policy`), the upstream's `status` and the `usage` to be read. `request.json` is the canonical request,
`outgoing.json` what must be sent (`path`, `body`, `headers`, `dropped`), `upstream.json|sse|ndjson|hex` the answer,
`reply.json` the canonical answer, the list of chunks of a stream, or the error (`code`, `status`, `message`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.wire.dialect import Ask, Dialect
from gateway.wire.dialects import MODULES, find_dialect
from gateway.wire.usage import Usage
from tests.wire_data import splits

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path for name in MODULES for path in (GOLDEN / name).glob("*/case.json"))


def read(folder: Path, name: str) -> Any:
    return orjson.loads((folder / name).read_bytes())


def upstream(folder: Path) -> bytes:
    (path,) = folder.glob("upstream.*")
    data = path.read_bytes()
    return bytes.fromhex(data.decode()) if path.suffix == ".hex" else data


def make_ask(case: dict[str, Any], request: dict[str, Any]) -> Ask:
    return Ask(
        operation=case.get("operation", "chat"),
        document=request,
        model=case["model"],
        shown_model=case.get("shown_model", request["model"]),
        answer_id="chatcmpl-golden",
        created=1_700_000_000,
        stream=case.get("stream", False),
        options=case.get("options", {}),
        policy=case.get("policy", {}),
    )


def check_stream(dialect: Dialect, ask: Ask, data: bytes, expected: list[Any], usage: object) -> None:
    for pieces in splits(data):
        decoder = dialect.decoder(ask)
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
        chunks += decoder.finish()
        assert decoder.error is None
        assert decoder.done
        assert chunks == expected
        assert decoder.usage == usage


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}")
def test_a_golden_case_comes_out_as_written(path: Path) -> None:
    folder = path.parent
    case = read(folder, "case.json")
    dialect = find_dialect(folder.parent.name)
    request = read(folder, "request.json")
    ask = make_ask(case, request)
    encoded = dialect.encode(ask)
    assert ask.document == read(folder, "request.json"), "the request was changed"
    assert {
        "path": encoded.path,
        "body": orjson.loads(encoded.body),
        "headers": {name.decode(): value.decode() for name, value in encoded.headers},
        "dropped": list(encoded.dropped),
    } == {"headers": {}, "dropped": [], **read(folder, "outgoing.json")}
    if not list(folder.glob("upstream.*")):
        return
    expected = read(folder, "reply.json")
    usage = Usage(**case["usage"]) if "usage" in case else None
    status = case.get("status", 200)
    if status >= 400:
        error = dialect.read_error("p", status, upstream(folder))
        assert {"code": error.code, "status": error.status, "message": error.message} == expected
    elif ask.stream:
        check_stream(dialect, ask, upstream(folder), expected, usage)
    else:
        assert dialect.decode(ask, upstream(folder)) == (expected, usage)
