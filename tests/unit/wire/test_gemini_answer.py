"""Gemini's answers, errors and lists as canonical ones."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask
from gateway.wire.gemini import DIALECT
from gateway.wire.usage import Usage

TOOL = {"type": "function", "function": {"name": "look"}}
ASK = Ask("chat", {"messages": []}, "gemini-2.5-flash", "alias", "chatcmpl-0123456789abcdef0123456789abcdef", 0)


def decode(candidate: dict[str, Any], ask: Ask = ASK, **answer: Any) -> dict[str, Any]:
    body = orjson.dumps({"candidates": [candidate], **answer})
    choice: dict[str, Any] = DIALECT.decode(ask, body)[0]["choices"][0]
    return choice


def parts(*given: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(given)}, "finishReason": "STOP", **candidate}


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("STOP", "stop"),
        (1, "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        (3, "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("UNEXPECTED_TOOL_CALL", "stop"),
        ("OTHER", "stop"),
        ("A_NEW_ONE", "stop"),
    ],
)
def test_the_reason_for_the_end_is_ours_and_the_providers(native: Any, reason: str) -> None:
    choice = decode(parts({"text": "x"}, finishReason=native))
    assert choice["finish_reason"] == reason
    if isinstance(native, str):
        assert choice["native_finish_reason"] == native


def test_a_filter_that_leaves_nothing_says_why() -> None:
    choice = decode({"finishReason": "SAFETY", "finishMessage": "Blocked."})
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "Blocked."}


@pytest.mark.shows("gemini", "parallel tools")
def test_calls_without_ids_get_made_ones_that_differ() -> None:
    call = {"functionCall": {"name": "look", "args": {"a": 1}}}
    choice = decode(parts(call, call, {"functionCall": {"name": "look"}}))
    calls = choice["message"]["tool_calls"]
    assert [item["id"] for item in calls] == [f"call_89abcdef0123456789abcdef_{index}" for index in range(3)]
    assert [item["function"]["arguments"] for item in calls] == ['{"a":1}', '{"a":1}', "{}"]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.shows("gemini", "structured output")
def test_the_function_that_stands_for_the_answer_is_its_content() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "f", "schema": {}}}
    document = {"messages": [], "tools": [TOOL], "response_format": form}
    ask = Ask("chat", document, "gemini-2.5-flash", "alias", "chatcmpl-1", 0)
    choice = decode(parts({"functionCall": {"name": "give_final_answer", "args": {"a": 1}}}), ask)
    assert choice["message"]["content"] == '{"a":1}'
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


def test_code_stands_in_fences_on_lines_of_their_own() -> None:
    choice = decode(
        parts(
            {"text": "Run:"},
            {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
            {"toolCall": {"toolType": "FILE_SEARCH"}, "thoughtSignature": "eA=="},
            {"text": "Done."},
        )
    )
    assert choice["message"]["content"] == "Run:\n```python\nprint(1)\n```\n```\n1\n```\nDone."
    assert "reasoning_details" not in choice["message"]


@pytest.mark.shows("gemini", "citations")
def test_a_segment_is_found_by_its_text_where_its_offsets_are_a_parts() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.example"}}, {"maps": {"uri": "https://m.example"}}, 7],
        "groundingSupports": [
            {"segment": {"startIndex": 0, "endIndex": 3, "text": "two"}, "groundingChunkIndices": [0, 9, "x"]},
            {"segment": {"startIndex": 0, "endIndex": 99, "text": "gone"}, "groundingChunkIndices": [1]},
        ],
    }
    choice = decode(parts({"text": "one "}, {"text": "two"}, groundingMetadata=grounding))
    assert [item["url_citation"] for item in choice["message"]["annotations"]] == [
        {"url": "https://a.example", "start_index": 4, "end_index": 7},
        {"url": "https://m.example"},
    ]


def test_recited_sources_are_citations() -> None:
    cited = {"citations": [{"startIndex": 0, "endIndex": 2, "uri": "https://s.example", "title": "S"}]}
    choice = decode(parts({"text": "äb"}, citationMetadata=cited))
    assert choice["message"]["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://s.example", "title": "S", "start_index": 0, "end_index": 1},
        }
    ]


@pytest.mark.shows("gemini", "n")
@pytest.mark.shows("gemini", "logprobs")
def test_every_candidate_is_a_choice_with_its_own_probabilities() -> None:
    told = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}, {"logProbability": 1}], "topCandidates": [3]}
    body = {"candidates": [parts({"text": "a"}, index=0, logprobsResult=told), parts({"text": "b"}, index=1)]}
    answer, usage = DIALECT.decode(ASK, orjson.dumps(body))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "b"]
    assert answer["choices"][0]["logprobs"] == {
        "content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}],
        "refusal": None,
    }
    assert "logprobs" not in answer["choices"][1]
    assert usage is None


@pytest.mark.shows("gemini", "usage")
def test_every_token_is_counted_once() -> None:
    told = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 2,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}, {"modality": "IMAGE", "tokenCount": 2}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}, {"modality": "TEXT", "tokenCount": 2}],
    }
    body = orjson.dumps({"candidates": [parts({"text": "x"})], "usageMetadata": told})
    assert DIALECT.decode(ASK, body)[1] == Usage(
        prompt=15, completion=5, cached=4, reasoning=2, audio_in=6, image_in=2, image_out=1
    )


def test_speech_in_pieces_is_one_and_bad_base64_is_a_bad_answer() -> None:
    piece = {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AQ=="}}
    assert decode(parts(piece, piece))["message"]["audio"]["data"] == "AQE="
    with pytest.raises(GatewayError, match="base64"):
        decode(parts(piece, {"inlineData": {"mimeType": "audio/wav", "data": "%"}}))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "upstream_bad_answer"),
        (b"[]", "upstream_bad_answer"),
        (b'{"candidates":[]}', "upstream_bad_answer"),
        (b'{"promptFeedback":{"blockReason":"SAFETY"}}', "content_policy_violation"),
        (b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}', "upstream_overloaded"),
        (b'{"error":"no"}', "upstream_bad_answer"),
    ],
)
def test_what_is_no_answer_has_its_own_code(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(ASK, body)
    assert caught.value.code == code


def error(status: int, word: str = "", message: str = "m", *details: Any) -> bytes:
    return orjson.dumps({"error": {"code": status, "message": message, "status": word, "details": list(details)}})


DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
MINUTE = {"violations": [{"quotaId": "GenerateContentInputTokensPerModelPerMinute-FreeTier"}]}
PLAN = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.shows("gemini", "errors")
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, error(400, "INVALID_ARGUMENT"), "upstream_4xx"),
        (400, error(400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}), "upstream_auth"),
        (400, error(400, "INVALID_ARGUMENT", "API key expired. Please renew."), "upstream_auth"),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "upstream_auth"),
        (400, error(400, "FAILED_PRECONDITION", "Something else."), "upstream_4xx"),
        (
            400,
            error(400, "INVALID_ARGUMENT", "The input token count is 1200000 but model only supports up to 1048576."),
            "context_length_exceeded",
        ),
        (400, error(400, "INVALID_ARGUMENT", "It violates Responsible AI practices."), "content_policy_violation"),
        (401, error(401, "UNAUTHENTICATED"), "upstream_auth"),
        (403, error(403, "PERMISSION_DENIED"), "upstream_auth"),
        (404, error(404, "NOT_FOUND"), "upstream_4xx"),
        (429, error(429, "RESOURCE_EXHAUSTED", PLAN, DAY, MINUTE), "upstream_quota"),
        (429, error(429, "RESOURCE_EXHAUSTED", PLAN, MINUTE), "upstream_429"),
        (429, error(429, "RESOURCE_EXHAUSTED", PLAN), "upstream_quota"),
        (429, error(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."), "upstream_429"),
        (500, error(500, "INTERNAL"), "upstream_5xx"),
        (503, error(503, "UNAVAILABLE"), "upstream_overloaded"),
        (504, error(504, "DEADLINE_EXCEEDED"), "upstream_5xx"),
        (502, b"<html>", "upstream_5xx"),
        (429, b"[" + error(429, "RESOURCE_EXHAUSTED", PLAN, MINUTE) + b"]", "upstream_429"),
        (400, b"[1", "upstream_4xx"),
    ],
)
def test_errors_are_told_apart(status: int, body: bytes, code: str) -> None:
    assert DIALECT.read_error("g", status, body).code == code


def test_the_time_to_wait_is_the_headers_else_the_bodys() -> None:
    body = error(429, "RESOURCE_EXHAUSTED", "m", MINUTE, {"retryDelay": "7.5s"})
    assert DIALECT.read_error("g", 429, body).retry_after_s == 7.5
    assert DIALECT.read_error("g", 429, body, retry_after_s=2).retry_after_s == 2
    assert (
        DIALECT.read_error("g", 429, error(429, "RESOURCE_EXHAUSTED", "m", {"retryDelay": "soon"})).retry_after_s
        is None
    )


def test_a_refusal_of_the_request_has_googles_word_and_no_key() -> None:
    key = "AIza" + "x" * 35
    found = DIALECT.read_error("g", 400, error(400, "INVALID_ARGUMENT", f"bad {key}"))
    assert found.shown_code == "invalid_argument"
    assert key not in found.message


def test_a_list_of_models_is_their_names() -> None:
    assert DIALECT.read_models(b'{"models":[{"name":"models/a"},{"name":7},3,{"name":"tunedModels/b"}]}') == [
        "a",
        "tunedModels/b",
    ]
    with pytest.raises(GatewayError):
        DIALECT.read_models(b'{"data":[]}')


@pytest.mark.parametrize(
    "body", [b"{}", b'{"embeddings":7}', b'{"embeddings":[]}', b'{"embeddings":[{"values":["a"]}]}']
)
def test_bad_embeddings_are_a_bad_answer(body: bytes) -> None:
    for form in ("float", "base64"):
        ask = Ask("embeddings", {"input": "x", "encoding_format": form}, "gemini-embedding-001", "m", "id", 0)
        with pytest.raises(GatewayError) as caught:
            DIALECT.decode(ask, body)
        assert caught.value.code == "upstream_bad_answer"
