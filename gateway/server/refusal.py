"""A failure outside the pipeline as an answer: the client's shape and a request id, the same from both lanes."""

from __future__ import annotations

import time

from gateway.errors import GatewayError
from gateway.pipeline.call import Reply, new_request_id, sane_request_id
from gateway.pipeline.pipeline import retry_headers
from gateway.upstream.job import Headers
from gateway.wire.inbound import Inbound
from gateway.wire.openai_inbound import OPENAI


def refusal(
    error: GatewayError, client_id: bytes | None, *, allow: bytes | None = None, speech: Inbound = OPENAI
) -> Reply:
    """The answer that tells of `error` in the shape of `speech`; `client_id` is the client's x-request-id, echoed if
    sane."""
    own = new_request_id(time.time_ns() // 1_000_000)
    headers: Headers = [(b"content-type", b"application/json"), *id_headers(own, client_id), *retry_headers(error)]
    if allow is not None:
        headers.append((b"allow", allow))
    return Reply(error.status, speech.error_body(error, own), headers)


def id_headers(own: str, client_id: bytes | None) -> Headers:
    """The request's ids as `Call` names them on the pipeline's answers."""
    sane = sane_request_id(client_id)
    if sane is None:
        return [(b"x-request-id", own.encode())]
    return [(b"x-request-id", sane), (b"x-gateway-request-id", own.encode())]
