from __future__ import annotations

from typing import Any

import pytest

from gateway.services.bounds.fields import UNBOUNDED_ENDPOINTS, unbounded_field
from gateway.wire.endpoints import ENDPOINTS
from gateway.wire.openai_operations import OPERATIONS

_FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("endpoint", "document", "field"),
    [
        ("chat", {"model": "m", "messages": [], "temperature": 1, "min_p": 0.1, "tools": [_FUNCTION]}, ""),
        ("chat", {"web_search_options": {}}, "web_search_options"),
        ("chat", {"web_search_options": None}, ""),
        ("chat", {"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ("chat", {"model": "m", "models": ["a", "b"]}, "models"),
        ("chat", {"plugins": []}, "plugins"),
        ("chat", {"provider": {}}, "provider"),
        ("chat", {"something_new": 1}, "something_new"),
        ("chat", {"tools": [_FUNCTION, {"type": "web_search"}]}, "tools[1]"),
        ("chat", {"tools": ["web_search"]}, "tools[0]"),
        ("chat", {"tools": {"type": "function"}}, "tools"),
        ("chat", {"tools": []}, ""),
        ("messages", {"tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g"}]}, ""),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ("messages", {"mcp_servers": []}, "mcp_servers"),
        ("messages", {"container": "c"}, "container"),
        ("messages", {"speed": "fast"}, "speed"),
        ("responses", {"tools": [{"type": "mcp"}]}, "tools[0]"),
        ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", {"conversation": "conv_1"}, "conversation"),
        ("responses", {"background": True}, "background"),
        ("responses", {"background": False, "previous_response_id": None}, ""),
        ("responses", {"prompt": {"id": "p"}}, "prompt"),
        ("completions", {"prompt": "x", "suffix": "y", "best_of": 2}, ""),
        ("completions", {"max_completion_tokens": 5}, "max_completion_tokens"),
        ("embeddings", {"input": "x", "dimensions": 3}, ""),
        ("rerank", {"query": "x", "documents": ["y"], "top_n": 1}, ""),
        ("images", {"prompt": "x"}, "/v1/images"),
        ("batches", {}, "/v1/batches"),
        ("files", {}, ""),
    ],
)
def test_only_what_is_known_to_be_bounded_is(endpoint: str, document: dict[str, Any], field: str) -> None:
    assert unbounded_field(document, endpoint) == field


def test_every_endpoint_that_may_cost_something_is_bounded_or_named() -> None:
    metered = {operation.endpoint.name for operation in OPERATIONS if operation.metered}
    names = metered | {endpoint.name for endpoint in ENDPOINTS}
    unknown = {name for name in names if not unbounded_field({"a_field_that_nobody_knows": 1}, name)}
    assert unknown == set()
    assert set(UNBOUNDED_ENDPOINTS) <= metered
