"""How the gateway itself runs: one class for each section of the YAML that is not providers or models."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.settings.secrets import Secret
from gateway.settings.section import (
    Count,
    CountOrZero,
    HttpUrl,
    ListenAddress,
    LocalFile,
    Megabytes,
    Milliseconds,
    Name,
    NetworkOrHost,
    OnClientGone,
    Proxy,
    Seconds,
    SecondsOrZero,
    Section,
    Share,
)


class Tls(Section):
    """The certificate that the server shows, and whom it asks for one."""

    cert_file: LocalFile = Field(description="certificate chain, PEM")
    key_file: LocalFile = Field(description="private key of the certificate, PEM")
    client_ca_file: LocalFile | None = Field(
        default=None, description="clients must show a certificate signed by these CAs"
    )


class Server(Section):
    """The address that clients call, and what one of them may take up."""

    host: Name = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, strict=True, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    workers: int = Field(default=1, strict=True, ge=1, le=256, description="processes that share the port")
    tls: Tls | None = Field(default=None, description="serve HTTPS; none serves plain HTTP")
    drain_timeout_s: SecondsOrZero = Field(
        default=30, description="how long requests in flight may take to finish on SIGTERM"
    )
    drain_grace_s: SecondsOrZero = Field(
        default=1,
        description="time between /readyz turning 503 and the port being closed, for load balancers to notice",
    )
    max_connections: Count = Field(default=10_000, description="open client connections per worker")
    max_body_mb: Megabytes = Field(default=20, description="largest body of chat, completions and embeddings requests")
    max_upload_mb: Megabytes = Field(default=512, description="largest body on endpoints that are passed through")
    max_head_bytes: int = Field(
        default=32_768, strict=True, ge=1024, le=1_048_576, description="largest request line and headers together"
    )
    max_headers: int = Field(default=100, strict=True, ge=8, le=10_000, description="most headers in one request")
    max_url_bytes: int = Field(default=8192, strict=True, ge=256, le=1_048_576, description="longest URL")
    head_timeout_s: Seconds = Field(default=10, description="time a client has to send a request's headers")
    body_timeout_s: Seconds = Field(default=60, description="longest silence while a client sends a body")
    idle_timeout_s: Seconds = Field(default=75, description="time an idle kept-alive connection stays open")
    write_timeout_s: Seconds = Field(default=60, description="how long a client may take nothing of its answer")

    @field_validator("tls", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return None if value == "none" else value


class Admin(Section):
    """Where /admin and /metrics are served."""

    listen: ListenAddress | None = Field(
        default=None,
        description="host:port for /admin and /metrics alone, HTTPS where server.tls is set; unset: beside /v1 on "
        "server.port",
    )
    expose: bool = Field(
        default=False, description="serve /admin beside /v1 although server.host is not a loopback address"
    )


class Pool(Section):
    """Connections to providers, per worker; an origin is a scheme, a host and a port."""

    max_connections_per_origin: Count = Field(default=2000, description="open connections to one origin")
    max_idle_per_origin: CountOrZero = Field(default=512, description="idle connections kept to one origin")
    idle_timeout_s: Seconds = Field(default=60, description="time an idle connection is kept")

    @model_validator(mode="after")
    def _idle_fits(self) -> Self:
        if self.max_idle_per_origin > self.max_connections_per_origin:
            raise ValueError("max_idle_per_origin must not be greater than max_connections_per_origin")
        return self


class Upstream(Section):
    """Limits of a call to a provider; providers and models may set their own time limits."""

    connect_timeout_s: Seconds = Field(default=5, description="time to open a connection, TLS included")
    first_byte_timeout_s: Seconds = Field(
        default=120, description="time from the request sent to the answer's first byte"
    )
    idle_timeout_s: Seconds = Field(default=60, description="longest silence between two pieces of an answer")
    total_timeout_s: Seconds = Field(default=600, description="time for the whole call, retries and fallbacks included")
    max_head_bytes: int = Field(
        default=65_536, strict=True, ge=1024, le=1_048_576, description="largest status line and headers of an answer"
    )
    max_answer_mb: Megabytes = Field(default=64, description="largest answer that is not streamed")
    on_client_gone: OnClientGone = Field(
        default="cancel",
        description="what becomes of a call whose client goes before the answer is complete: it is cancelled, or "
        "finished unheard, so that its usage comes and its cost is exact",
    )
    pool: Pool = Field(default_factory=Pool, description="connection pool")
    queue_timeout_s: SecondsOrZero = Field(
        default=5, description="how long a request waits when the limits of all its targets are reached; 0: not at all"
    )
    queue_max_waiting: Count = Field(default=1000, description="requests that wait for one target, per worker")
    proxy: Proxy = Field(
        default="env", description="env: HTTPS_PROXY and NO_PROXY decide; none: no proxy; or a proxy's http:// URL"
    )


class Retries(Section):
    """Second tries at the same target after a failure that may pass."""

    attempts: int = Field(
        default=3, strict=True, ge=1, le=20, description="most tries at one target; 1 switches retries off"
    )
    base_delay_ms: Milliseconds = Field(
        default=200, description="upper end of the first random pause; it doubles each time"
    )
    max_delay_ms: Milliseconds = Field(
        default=5000, description="longest pause; a longer Retry-After ends the tries instead"
    )
    budget_percent: float = Field(
        default=10,
        strict=True,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="most second tries, of all calls in the window",
    )
    budget_min: CountOrZero = Field(default=10, description="second tries that are always allowed in the window")
    budget_window_s: Seconds = Field(default=10, description="length of the window")

    @model_validator(mode="after")
    def _base_is_least(self) -> Self:
        if self.base_delay_ms > self.max_delay_ms:
            raise ValueError("base_delay_ms must not be greater than max_delay_ms")
        return self


class Breaker(Section):
    """The circuit breaker of each target: when it is left alone, and for how long."""

    window_s: Seconds = Field(default=30, description="time over which errors are counted")
    min_requests: Count = Field(default=20, description="requests in the window before the error rate counts")
    error_rate: float = Field(
        default=0.5,
        strict=True,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="share of failures that opens the breaker",
    )
    consecutive_failures: Count = Field(default=5, description="failures in a row that open the breaker")
    open_s: Seconds = Field(default=15, description="time until one live request tries the target again")


class Keys(Section):
    """The in-process snapshot of virtual keys."""

    cache_size: Count = Field(default=100_000, description="keys remembered per worker")
    negative_cache_size: Count = Field(default=10_000, description="unknown keys remembered per worker")
    negative_cache_s: Seconds = Field(default=10, description="time an unknown key is remembered")
    max_stale_s: Seconds = Field(default=30, description="time without news of changes before on_stale decides")
    on_stale: Literal["refuse", "go_on"] = Field(
        default="go_on",
        description="when news of changes stay away: refuse requests (503), or go on with what is known",
    )


class Idempotency(Section):
    """Requests with an `Idempotency-Key`: the first one's answer is kept for those who send it again."""

    enabled: bool = Field(default=True, description="false: the header is ignored")
    ttl_hours: int = Field(default=24, strict=True, ge=1, le=8760, description="how long a key and its answer are kept")
    max_answer_kb: int = Field(
        default=1024, strict=True, ge=1, le=65_536, description="largest answer that is kept, whole or streamed"
    )
    max_kept_mb_per_key: Megabytes = Field(
        default=256, description="answers that are kept for one API key, together; beyond that the oldest are given up"
    )


class RequestLog(Section):
    """The line that each finished request writes."""

    sample: Share = Field(default=1.0, description="share of successful requests that write a line; failures always do")


class Logging(Section):
    """What is written to stderr, as JSON lines."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severity that is written"
    )
    requests: RequestLog = Field(default_factory=RequestLog, description="one line per finished request")
    bodies: Literal["none", "errors", "all"] = Field(
        default="none", description="log prompts and answers: of no request, of failed ones, or of all"
    )


class Telemetry(Section):
    """OpenTelemetry traces; needs the extra `otel`."""

    enabled: bool = Field(default=False, description="send a span per request and per attempt")
    service_name: Name = Field(default="kubechat-gateway", description="service.name of the spans")
    endpoint: HttpUrl | None = Field(
        default=None, description="OTLP/HTTP collector; unset: OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318"
    )
    sample: Share = Field(default=1.0, description="share of traces kept when the caller has not decided")


class Passthrough(Section):
    """Endpoints whose body is passed on unread: files, batches, audio, images, fine-tuning, …"""

    provider: Name | None = Field(default=None, description="provider for requests that name no model")
    spool_max_mb: Megabytes = Field(default=512, description="most disk space for a body whose model field comes late")
    spool_memory_kb: CountOrZero = Field(default=256, description="part of a body held in memory before disk is used")


class Batches(Section):
    """Batches that were made through the gateway, until they have ended and are metered."""

    poll_interval_s: Seconds = Field(
        default=60, description="time between two questions to the provider about an unfinished batch"
    )


class Fetch(Section):
    """Images and files that are fetched by their URL, for providers that take none."""

    max_mb: Megabytes = Field(default=20, description="largest image or file")
    timeout_s: Seconds = Field(default=15, description="time for all of it")
    at_once: Count = Field(default=8, description="fetches at a time, per worker")


class Security(Section):
    """Where URLs that clients and administrators choose may lead."""

    allow_private_upstreams: tuple[NetworkOrHost, ...] = Field(
        default=(),
        description="addresses, networks and host names inside your network that base URLs given over the admin API, "
        "fetched images and webhooks may lead to; providers declared in this file may lead anywhere",
    )
    fetch: Fetch = Field(default_factory=Fetch, description="fetched images and files")


class Database(Section):
    """PostgreSQL with pgvector; with no URL the gateway starts its own."""

    url: Secret | None = Field(default=None, description="names the URL (env:NAME); unset: DATABASE_URL, else embedded")
    listen_url: Secret | None = Field(
        default=None,
        description="a session connection for LISTEN behind a transaction pooler; unset: DATABASE_LISTEN_URL",
    )
    pool_min: CountOrZero = Field(default=1, description="connections kept open per worker")
    pool_max: int = Field(default=8, strict=True, ge=1, le=1000, description="most connections per worker")

    @model_validator(mode="after")
    def _min_is_least(self) -> Self:
        if self.pool_min > self.pool_max:
            raise ValueError("pool_min must not be greater than pool_max")
        return self


class Valkey(Section):
    """The shared counters, in Valkey or Redis; with no URL the gateway starts its own."""

    url: Secret | None = Field(default=None, description="names the URL (env:NAME); unset: REDIS_URL, else embedded")


class Stage(Section):
    """One stage of the pipeline."""

    enabled: bool = Field(
        default=True,
        description="false switches the stage off; meter only together with admit, limit_rate and check_budget",
    )
