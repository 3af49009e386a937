"""Asking a provider for one object."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.upstream.relayed import Exchange
from gateway.wire.dialect import Document
from gateway.wire.openai_error import parse_object


async def read_object(exchange: Exchange, *, max_bytes: int) -> tuple[bytes, Document]:
    """An answer's bytes and the JSON object in them. Raises upstream_bad_answer, upstream_answer_too_large."""
    body = await exchange.answer.read_all(max_bytes)
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    exchange.settle(None)
    return body, document


def says_gone(error: GatewayError) -> bool:
    """Did the provider itself say that it has no such object?"""
    return error.status == 404 and error.code == "upstream_4xx"
