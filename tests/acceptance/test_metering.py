"""What the ledger holds after real calls: one row an attempt, one final row a request, the cost that was told."""

from __future__ import annotations

import http.client
import time
from decimal import Decimal

import orjson

from tests.acceptance.served import Served, call

ASK = {"model": "small", "messages": [{"role": "user", "content": "Tell me something about container networks."}]}


def test_a_whole_answers_row_has_its_usage_and_the_cost_that_was_told(served: Served) -> None:
    served.script()
    key = served.make_key(name="metered", team="metering")
    status, headers, answer = call("POST", served.v1 + "/chat/completions", ASK, key["key"])
    assert status == 200
    (row,) = served.rows(headers["x-request-id"])
    assert (row["outcome"], row["status"], row["final"], row["attempt"]) == ("ok", 200, True, 1)
    assert (row["input_tokens"], row["output_tokens"]) == (
        answer["usage"]["prompt_tokens"],
        answer["usage"]["completion_tokens"],
    )
    assert Decimal(headers["x-gateway-cost-usd"]) == row["cost_amount"]
    assert row["cost_nano_usd"] == row["input_tokens"] * 1000 + row["output_tokens"] * 3000
    assert (row["model_name"], row["target_model"], row["provider_name"]) == ("small", "gpt-4o-mini", "mock")
    assert str(row["key_id"]) == key["id"]
    assert row["team_id"] is not None
    assert (row["streamed"], row["estimated"]) == (False, False)


def _stream(served: Served, events: int) -> str:
    """Read so many events of a stream, then hang up; all of them where it is 0. Returns the request's id."""
    connection = http.client.HTTPConnection("127.0.0.1", served.gateway.port, timeout=30)
    connection.request(
        "POST",
        "/v1/chat/completions",
        orjson.dumps({**ASK, "stream": True}),
        {"authorization": f"Bearer {served.key}", "content-type": "application/json"},
    )
    answer = connection.getresponse()
    assert answer.status == 200
    assert "x-gateway-cost-usd" not in answer.headers
    seen = 0
    for line in answer:
        seen += line.startswith(b"data:")
        if seen == events:
            break
    else:
        assert line == b"\n"
    connection.close()
    return answer.headers["x-request-id"]


def test_a_streams_row_has_the_usage_that_its_client_never_saw(served: Served) -> None:
    served.script()
    _, _, whole = call("POST", served.v1 + "/chat/completions", ASK, served.key)
    (row,) = served.rows(_stream(served, 0))
    assert (row["outcome"], row["streamed"], row["estimated"]) == ("ok", True, False)
    assert row["output_tokens"] == whole["usage"]["completion_tokens"]
    assert row["first_byte_ms"] is not None


def test_a_client_that_hangs_up_is_charged_by_estimate_for_what_had_streamed(served: Served) -> None:
    served.script({"type": "stream_fault", "kind": "stall", "after_chunks": 12, "stall_seconds": 20})
    began = time.monotonic()
    request_id = _stream(served, 10)
    (row,) = served.rows(request_id)
    assert time.monotonic() - began < 15
    assert (row["outcome"], row["status"], row["error_code"]) == ("client_gone", 499, "client_gone")
    assert (row["estimated"], row["final"]) == (True, True)
    assert 5 <= row["output_tokens"] <= 60
    assert row["input_tokens"] > 0
    assert row["cost_nano_usd"] > 0
    told = [
        (line["status"], line["code"]) for line in served.gateway.log_lines() if line.get("request_id") == request_id
    ]
    assert told == [(499, "client_gone")]


def test_every_attempt_has_a_row_and_only_the_last_is_final(served: Served) -> None:
    served.script({"type": "fail", "status": 500, "times": 2})
    status, headers, _ = call("POST", served.v1 + "/chat/completions", ASK, served.key)
    assert (status, headers["x-gateway-attempts"]) == (200, "3")
    rows = served.rows(headers["x-request-id"], at_least=3)
    assert [(row["attempt"], row["outcome"], row["final"]) for row in rows] == [
        (1, "error", False),
        (2, "error", False),
        (3, "ok", True),
    ]
    assert [row["cost_nano_usd"] > 0 for row in rows] == [False, False, True]
    assert Decimal(headers["x-gateway-cost-usd"]) == sum(row["cost_amount"] for row in rows)


def test_a_request_that_fails_for_good_has_a_final_row_too(served: Served) -> None:
    served.script({"type": "fail", "status": 400, "message": "no"})
    status, headers, _ = call("POST", served.v1 + "/chat/completions", ASK, served.key)
    assert status == 400
    (row,) = served.rows(headers["x-request-id"])
    assert (row["outcome"], row["error_code"], row["final"], row["cost_nano_usd"]) == ("error", "upstream_4xx", True, 0)


def test_what_is_refused_by_the_gateway_itself_has_no_row(served: Served) -> None:
    status, headers, _ = call("POST", served.v1 + "/chat/completions", {**ASK, "messages": []}, served.key)
    assert status == 400
    done = call("POST", served.v1 + "/chat/completions", ASK, served.key)[1]["x-request-id"]
    assert [str(row["request_id"]) for row in served.rows(done, headers["x-request-id"], at_least=0)] in ([], [done])
    assert len(served.rows(done)) == 1
    assert served.rows(headers["x-request-id"], at_least=0) == []
