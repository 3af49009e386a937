"""Each part's own options, read from the settings."""

from __future__ import annotations

import ipaddress
from decimal import Decimal

from gateway.metrics import Metrics
from gateway.server.gate import GateLimits
from gateway.server.telemetry import Telemetry
from gateway.services.keys.service import KeysOptions
from gateway.services.ledger.service import LedgerOptions
from gateway.services.prices.price import PriceOverride
from gateway.settings import Price, Settings, pico_usd_per_token
from gateway.upstream.fetching import FetchLimits
from gateway.upstream.retries import RetryOptions

_MB = 1_048_576


def retry_options(settings: Settings, workers: int) -> RetryOptions:
    """The retry budget's minimum is shared by the workers."""
    retries = settings.retries
    return RetryOptions(
        attempts=retries.attempts,
        base_delay_s=retries.base_delay_ms / 1000,
        max_delay_s=retries.max_delay_ms / 1000,
        budget_share=retries.budget_percent / 100,
        budget_min=-(-retries.budget_min // workers),
        budget_window_s=retries.budget_window_s,
    )


def telemetry_of(settings: Settings, metrics: Metrics) -> Telemetry | None:
    """Telemetry, where it is switched on. Raises TelemetryMissing without the extra `otel`."""
    wanted = settings.telemetry
    if not wanted.enabled:
        return None
    return Telemetry.start(wanted.service_name, wanted.endpoint, wanted.sample, metrics.spans_dropped.child())


def keys_options(settings: Settings) -> KeysOptions:
    """How many keys are remembered, and for how long without news."""
    keys = settings.keys
    return KeysOptions(
        cache_size=keys.cache_size,
        negative_cache_size=keys.negative_cache_size,
        negative_cache_s=keys.negative_cache_s,
        max_stale_s=keys.max_stale_s,
        on_stale=keys.on_stale,
    )


def ledger_options(settings: Settings) -> LedgerOptions:
    """How the journal is written and copied."""
    ledger = settings.ledger
    return LedgerOptions(
        segment_mb=ledger.segment_mb,
        fsync=ledger.fsync,
        fsync_interval_ms=ledger.fsync_interval_ms,
        copy_interval_ms=ledger.copy_interval_ms,
        batch_rows=ledger.batch_rows,
    )


def gate_limits(settings: Settings) -> GateLimits:
    """What one client may take up."""
    server = settings.server
    return GateLimits(
        max_connections=server.max_connections,
        max_head_bytes=server.max_head_bytes,
        max_headers=server.max_headers,
        max_url_bytes=server.max_url_bytes,
        max_body_bytes=server.max_body_mb * _MB,
        head_timeout_s=server.head_timeout_s,
        body_timeout_s=server.body_timeout_s,
        idle_timeout_s=server.idle_timeout_s,
        write_timeout_s=server.write_timeout_s,
    )


def fetch_limits(settings: Settings) -> FetchLimits:
    """What one fetched image or file may take."""
    fetch = settings.security.fetch
    return FetchLimits(max_bytes=fetch.max_mb * _MB, total_s=fetch.timeout_s, at_once=fetch.at_once)


def price_overrides(settings: Settings) -> dict[str, PriceOverride]:
    """Declared prices by every name of their model."""
    return {
        name: _price_override(model.price)
        for model in settings.models
        if model.price is not None
        for name in (model.name, *model.aliases)
    }


def _price_override(price: Price) -> PriceOverride:
    def pico(usd: Decimal | None) -> int | None:
        return None if usd is None else pico_usd_per_token(usd)

    return PriceOverride(
        input=pico_usd_per_token(price.input_usd_per_mtok),
        output=pico_usd_per_token(price.output_usd_per_mtok),
        cached=pico(price.cached_input_usd_per_mtok),
        cache_write=pico(price.cache_write_usd_per_mtok),
        audio_in=pico(price.audio_input_usd_per_mtok),
        audio_out=pico(price.audio_output_usd_per_mtok),
        image_in=pico(price.image_input_usd_per_mtok),
        image_out=pico(price.image_output_usd_per_mtok),
    )


def is_loopback(host: str) -> bool:
    """Can only this machine reach `host`?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
