"""Azure OpenAI, by deployments and by its v1 API, with the Entra endpoint that gives tokens for it.

It takes the resource's key in `api-key`, or a bearer token that its own Entra endpoint has given. The answers are
those of https://learn.microsoft.com/azure/ai-foundry/openai/reference and of recorded traffic in form (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import orjson

from tests.servers.serving import Answer, Request, Server, json_answer

_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_FILTERS = [{"prompt_index": 0, "content_filter_results": _SAFE}]
_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
_FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {**_SAFE, "hate": {"filtered": True, "severity": "high"}},
        },
    }
}
_NO_DEPLOYMENT = {
    "error": {
        "type": "invalid_request_error",
        "code": "DeploymentNotFound",
        "message": "The API deployment for this resource does not exist.",
    }
}
_TOO_FAST = {
    "error": {"code": "429", "message": "Requests have exceeded the token rate limit of your current pricing tier."}
}
_WRONG_KEY = {
    "error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}
}


class AzureServer(Server):
    """`deployments` are the models; `lifetime_s` that of the tokens. `tokens` are those it has given."""

    def __init__(
        self,
        *,
        api_key: str = "azure-key-0123456789",
        deployments: tuple[str, ...] = ("gpt-4o", "embedding"),
        client: tuple[str, str, str] = ("tenant-1", "client-1", "client-secret-1"),
        lifetime_s: int = 3599,
    ) -> None:
        super().__init__()
        self._api_key = api_key
        self._deployments = deployments
        self._client = client
        self.lifetime_s = lifetime_s
        self.tokens: list[str] = []

    def refused(self, request: Request) -> Answer | None:
        """401 without the key or a token of ours; the Entra endpoint looks at its form itself."""
        if request.path.endswith("/oauth2/v2.0/token"):
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.headers.get("api-key") == self._api_key or given in self.tokens:
            return None
        return json_answer(_WRONG_KEY, 401)

    def answered(self, request: Request) -> Answer:
        """By the path: an Entra token, a list of models, or one of the operations."""
        parts = urlsplit(request.path)
        found = re.fullmatch(r"/([^/]+)/oauth2/v2.0/token", parts.path)
        if found is not None:
            return self._token(unquote(found[1]), dict(parse_qsl(request.body.decode())))
        dated = bool(parse_qs(parts.query).get("api-version"))
        if parts.path in ("/openai/models", "/openai/v1/models") and (dated or "/v1/" in parts.path):
            return json_answer({"object": "list", "data": [{"id": "gpt-4o-2024-08-06", "object": "model"}]})
        found = re.fullmatch(r"/openai/deployments/([^/]+)/(chat/completions|embeddings)", parts.path)
        if found is not None and dated:
            return self._operation(unquote(found[1]), found[2], request.json)
        found = re.fullmatch(r"/openai/v1/(chat/completions|embeddings)", parts.path)
        if found is not None:
            return self._operation(str(request.json.get("model")), found[1], request.json)
        return json_answer({"error": {"code": "404", "message": "Resource not found"}}, 404)

    def _token(self, tenant: str, form: Mapping[str, str]) -> Answer:
        if (tenant, form.get("client_id"), form.get("client_secret")) != self._client:
            text = "AADSTS7000215: Invalid client secret provided. Trace ID: 0-0-0"
            return json_answer({"error": "invalid_client", "error_description": text, "error_codes": [7000215]}, 401)
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
            return json_answer({"error": "invalid_scope", "error_description": "AADSTS70011: The scope is wrong."}, 400)
        self.tokens.append(f"entra-token-{len(self.tokens) + 1}")
        body = {"token_type": "Bearer", "expires_in": self.lifetime_s, "access_token": self.tokens[-1]}
        return json_answer(body)

    def _operation(self, deployment: str, operation: str, document: dict[str, Any]) -> Answer:
        if deployment == "throttled":
            return json_answer(_TOO_FAST, 429, retry_after="7")
        if deployment not in self._deployments:
            return json_answer(_NO_DEPLOYMENT, 404)
        if operation == "embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]
            usage = {"prompt_tokens": 4, "total_tokens": 4}
            return json_answer({"object": "list", "data": data, "model": "text-embedding-3-large", "usage": usage})
        if "filtered" in orjson.dumps(document.get("messages")).decode():
            return json_answer(_FILTERED, 400)
        delta = _message(document)
        reason = "tool_calls" if "tool_calls" in delta else "stop"
        return _stream(delta, reason, document) if document.get("stream") is True else _whole(delta, reason)


def _message(document: dict[str, Any]) -> dict[str, Any]:
    tools = document.get("tools") or []
    if tools and document["messages"][-1]["role"] != "tool":
        function = {"name": tools[0]["function"]["name"], "arguments": '{"city":"Paris"}'}
        call = {"id": "call_azure1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": "Hello from Azure."}


def _whole(message: dict[str, Any], reason: str) -> Answer:
    choice = {"index": 0, "message": message, "finish_reason": reason, "content_filter_results": _SAFE}
    return json_answer(
        {
            "id": "chatcmpl-azure1",
            "object": "chat.completion",
            "created": 1714036973,
            "model": "gpt-4o-2024-08-06",
            "choices": [choice],
            "usage": _USAGE,
            "prompt_filter_results": _PROMPT_FILTERS,
        }
    )


def _stream(message: dict[str, Any], reason: str, document: dict[str, Any]) -> Answer:
    """As Azure does it: a chunk of filter results first, with no choices and no id."""
    head = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": _PROMPT_FILTERS}
    pieces = [_event(head), _chunk({"role": "assistant", "content": ""})]
    if message["content"] is not None:
        pieces += [_chunk({"content": word}) for word in ("Hello", " from", " Azure.")]
    else:
        pieces.append(_chunk({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]}))
    pieces.append(_chunk({}, reason))
    if (document.get("stream_options") or {}).get("include_usage"):
        pieces.append(_event({**_frame(), "choices": [], "usage": _USAGE}))
    return Answer(200, [*pieces, b"data: [DONE]\n\n"], "text/event-stream; charset=utf-8")


def _frame() -> dict[str, Any]:
    return {"id": "chatcmpl-azure1", "object": "chat.completion.chunk", "created": 1714036973, "model": "gpt-4o"}


def _chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return _event({**_frame(), "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"
