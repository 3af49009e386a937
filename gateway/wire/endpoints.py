"""Every endpoint that has the whole pipeline."""

from __future__ import annotations

from gateway.wire import anthropic_inbound, rerank_inbound, responses_inbound
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai import OPENAI_ENDPOINTS

MESSAGES = Endpoint(
    "messages",
    "/v1/messages",
    "/messages",
    "chat",
    "messages",
    streams=True,
    inbound=anthropic_inbound.INBOUND,
    word="chat",
    aliases=("/anthropic/v1/messages",),
)
RERANK = Endpoint("rerank", "/v1/rerank", "/rerank", "rerank", "query", inbound=rerank_inbound.INBOUND)
# Not among ENDPOINTS: providers with a Responses API of their own get what is for them unparsed, so the pipeline has
# only those requests that are to be translated.
RESPONSES = Endpoint(
    "responses", "/v1/responses", "/responses", "chat", "input", streams=True, inbound=responses_inbound.INBOUND
)
ENDPOINTS = (*OPENAI_ENDPOINTS, MESSAGES, RERANK)
