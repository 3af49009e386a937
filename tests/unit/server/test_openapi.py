"""The API's description is complete and well formed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import FAILURES
from gateway.server.openapi import build_document, openapi_document


@pytest.fixture(scope="module")
def document() -> Any:
    return orjson.loads(openapi_document())


def test_it_describes_every_path_that_the_gateway_promises(document: Any) -> None:
    promised = {
        "/v1/chat/completions": {"post"},
        "/v1/completions": {"post"},
        "/v1/embeddings": {"post"},
        "/v1/models": {"get"},
        "/v1/models/{id}": {"get"},
        "/v1/key": {"get"},
        "/healthz": {"get"},
        "/readyz": {"get"},
        "/metrics": {"get"},
        "/openapi.json": {"get"},
        "/v1/messages": {"post"},
        "/v1/messages/count_tokens": {"post"},
        "/v1/rerank": {"post"},
        "/v1/responses": {"post"},
        "/v1/responses/{id}": {"get", "delete"},
        "/v1/files": {"get", "post"},
        "/v1/batches/{id}/cancel": {"post"},
        "/anthropic/v1/messages": {"post"},
        "/anthropic/v1/messages/count_tokens": {"post"},
        "/anthropic/v1/models": {"get"},
        "/admin/keys": {"get", "post"},
        "/admin/keys/{id}": {"get", "patch", "delete"},
        "/admin/keys/{id}/rotate": {"post"},
        "/admin/providers": {"get", "post"},
        "/admin/providers/{id}": {"get", "patch", "delete"},
        "/admin/providers/{id}/test": {"post"},
        "/admin/providers/{id}/models": {"get"},
        "/admin/models": {"get", "post"},
        "/admin/models/{id}": {"get", "patch", "delete"},
        "/admin/config": {"get"},
        "/admin/targets": {"get"},
    }
    for path, methods in promised.items():
        assert methods <= document["paths"][path].keys() - {"parameters"}, path


def test_every_failure_has_its_apis_error_shape_and_a_request_id(document: Any) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert "x-failures" not in operation
            for status, response in operation["responses"].items():
                if status >= "300":
                    schema = response["content"]["application/json"]["schema"]
                    shape = "AnthropicError" if path.startswith(("/v1/messages", "/anthropic")) else "Error"
                    assert schema == {"$ref": f"#/components/schemas/{shape}"}, (path, method, status)
                    assert "x-request-id" in response["headers"]


def test_every_reference_leads_somewhere(document: Any) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)


def test_operations_are_named_apart_and_say_who_may_call_them(document: Any) -> None:
    operations = [
        operation for item in document["paths"].values() for name, operation in item.items() if name != "parameters"
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all("security" in operation and operation["tags"] for operation in operations)


def test_each_of_the_clients_own_failures_is_described_somewhere(document: Any) -> None:
    text = openapi_document().decode()
    nobody_reads_it = {"client_gone"}
    assert [code for code in FAILURES if code not in nobody_reads_it and f"`{code}`" not in text] == []


def test_a_document_is_built_anew_each_time_and_served_from_one(document: Any) -> None:
    assert build_document() == document
    assert openapi_document() is openapi_document()
