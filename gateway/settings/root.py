"""The whole configuration, as one value that never changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr

from gateway.settings.accounting import Ledger, Reporting
from gateway.settings.alerts import Alerts
from gateway.settings.catalogue import Model, Provider
from gateway.settings.governance import Limits
from gateway.settings.section import Name, Section
from gateway.settings.sections import (
    Admin,
    Batches,
    Breaker,
    Database,
    Idempotency,
    Keys,
    Logging,
    Passthrough,
    Retries,
    Security,
    Server,
    Stage,
    Telemetry,
    Upstream,
    Valkey,
)

ProviderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Settings(Section):
    """Everything that YAML declares. `Settings()` is all defaults: no providers and no models."""

    include: tuple[Name, ...] = Field(default=(), description="files that are read first, beside this one")
    server: Server = Field(default_factory=Server, description="the address that clients call")
    admin: Admin = Field(default_factory=Admin, description="administration and metrics")
    upstream: Upstream = Field(default_factory=Upstream, description="calls to providers")
    retries: Retries = Field(default_factory=Retries, description="second tries")
    breaker: Breaker = Field(default_factory=Breaker, description="circuit breaker of each target")
    keys: Keys = Field(default_factory=Keys, description="virtual keys")
    ledger: Ledger = Field(default_factory=Ledger, description="journal and metering")
    reporting: Reporting = Field(default_factory=Reporting, description="tags and end users")
    idempotency: Idempotency = Field(default_factory=Idempotency, description="requests that are answered once")
    alerts: Alerts = Field(default_factory=Alerts, description="who is told of budgets")
    logging: Logging = Field(default_factory=Logging, description="log lines")
    telemetry: Telemetry = Field(default_factory=Telemetry, description="OpenTelemetry")
    security: Security = Field(default_factory=Security, description="private addresses")
    passthrough: Passthrough = Field(default_factory=Passthrough, description="endpoints that are passed through")
    batches: Batches = Field(default_factory=Batches, description="metering of batches")
    database: Database = Field(default_factory=Database, description="PostgreSQL")
    valkey: Valkey = Field(default_factory=Valkey, description="Valkey or Redis")
    providers: dict[ProviderName, Provider] = Field(default_factory=dict, description="who answers, by name")
    models: tuple[Model, ...] = Field(default=(), description="what clients may ask for")
    limits: Limits | None = Field(default=None, description="how much may be asked of the gateway, by all together")
    stages: dict[Name, Stage] = Field(default_factory=dict, description="stages of the pipeline, by name")

    _source_files: tuple[Path, ...] = PrivateAttr(default=())

    @property
    def source_files(self) -> tuple[Path, ...]:
        """The YAML files that this was read from, the including file first; empty for `Settings()`."""
        return self._source_files

    def stage_enabled(self, name: str) -> bool:
        """Is the stage in force? One that is not mentioned is."""
        stage = self.stages.get(name)
        return stage is None or stage.enabled
