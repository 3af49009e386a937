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


class FinishedRequest:
    """One request, ended. Times are Unix times in seconds, durations milliseconds, money nano-dollars.

    `request_id` is the gateway's own (a UUID: it is written unescaped). `model` is what the client asked
    for, `response_model` what the answer names; `provider` and `target` are those of the last attempt.
    `attempts_log` may stay empty where one attempt succeeded and telemetry is off. `trace` is `Telemetry.begin`'s.
    `replayed`: the answer is that of an earlier request with the same `Idempotency-Key`.
    """

    __slots__ = (
        "attempts",
        "attempts_log",
        "cache_write_tokens",
        "cached_tokens",
        "client_ip",
        "client_request_id",
        "code",
        "completion_tokens",
        "cost_nano_usd",
        "duration_ms",
        "endpoint",
        "key_id",
        "model",
        "prompt_tokens",
        "provider",
        "reasoning_tokens",
        "replayed",
        "request_id",
        "response_model",
        "started_at",
        "status",
        "stream",
        "target",
        "trace",
        "ttft_ms",
        "upstream_ms",
    )

    def __init__(
        self,
        request_id: str,
        endpoint: str,
        status: int,
        started_at: float,
        duration_ms: float,
        client_request_id: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        target: str | None = None,
        code: str | None = None,
        attempts: int = 0,
        attempts_log: Sequence[Attempt] = (),
        stream: bool = False,
        upstream_ms: float = 0.0,
        cost_nano_usd: int = 0,
        key_id: str | None = None,
        client_ip: str | None = None,
    ) -> None:
        self.request_id = request_id
        self.endpoint = endpoint
        self.status = status
        self.started_at, self.duration_ms, self.upstream_ms = started_at, duration_ms, upstream_ms
        self.client_request_id = client_request_id
        self.model, self.provider, self.target = model, provider, target
        self.code = code
        self.attempts, self.attempts_log = attempts, attempts_log
        self.stream = stream
        self.cost_nano_usd = cost_nano_usd
        self.key_id, self.client_ip = key_id, client_ip
        self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        self.cache_write_tokens = self.reasoning_tokens = 0
        self.ttft_ms: float | None = None
        self.response_model: str | None = None
        self.trace: Trace | None = None
        self.replayed = False
