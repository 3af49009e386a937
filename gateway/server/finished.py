"""What is told of a request after its end: to the request log and to telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.server.trace_context import Trace


@dataclass(slots=True)
class Attempt:
    """One attempt at a target. `outcome` is "ok" or an error code; `started_at` is Unix time in seconds.

    `gen_ai_provider` is OpenTelemetry's name of the vendor (`gen_ai.provider.name`) where it differs from
    `provider`. `span_id` is the one sent upstream in `traceparent` (telemetry on), 0 where none was.
    """

    provider: str
    target: str
    outcome: str
    started_at: float
    duration_ms: float
    model: str | None = None
    status: int | None = None
    gen_ai_provider: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    span_id: int = 0


@dataclass(slots=True)
class FinishedRequest:
    """One request, ended. Times are Unix times in seconds, durations milliseconds, money nano-dollars.

    `request_id` is the gateway's own (a UUID: it is written unescaped). `model` is what the client asked
    for, `response_model` what the answer names; `provider` and `target` are those of the last attempt.
    `attempts_log` may stay empty where one attempt succeeded and telemetry is off. `trace` is `Telemetry.begin`'s.
    `replayed`: the answer is that of an earlier request with the same `Idempotency-Key`.
    """

    request_id: str
    endpoint: str
    status: int
    started_at: float
    duration_ms: float
    client_request_id: str | None = None
    model: str | None = None
    provider: str | None = None
    target: str | None = None
    code: str | None = None
    attempts: int = 0
    attempts_log: Sequence[Attempt] = ()
    stream: bool = False
    upstream_ms: float = 0.0
    cost_nano_usd: int = 0
    key_id: str | None = None
    client_ip: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    ttft_ms: float | None = None
    response_model: str | None = None
    trace: Trace | None = None
    replayed: bool = False
