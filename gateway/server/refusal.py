"""A failure outside the pipeline as an answer: OpenAI's shape and a request id, the same from both lanes."""

from __future__ import annotations

import time

from gateway.errors import GatewayError
from gateway.pipeline.call import Reply, new_request_id, sane_request_id
from gateway.pipeline.pipeline import retry_headers
from gateway.upstream.job import Headers


def refusal(error: GatewayError, client_id: bytes | None, *, allow: bytes | None = None) -> Reply:
    """The answer that tells of `error`; `client_id` is the client's x-request-id, echoed if sane."""
    own = new_request_id(time.time_ns() // 1_000_000)
    headers: Headers = [(b"content-type", b"application/json"), *id_headers(own, client_id), *retry_headers(error)]
    if allow is not None:
        headers.append((b"allow", allow))
    return Reply(error.status, error.body(own), headers)


def id_headers(own: str, client_id: bytes | None) -> Headers:
    """The request's ids as `Call` names them on the pipeline's answers."""
    sane = sane_request_id(client_id)
    if sane is None:
        return [(b"x-request-id", own.encode())]
    return [(b"x-request-id", sane), (b"x-gateway-request-id", own.encode())]
