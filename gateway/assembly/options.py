"""Each part's own options, read from the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from decimal import Decimal

from gateway.metrics import Metrics
from gateway.pipeline.reporting import Reporting
from gateway.providers.price import PriceOverride
from gateway.server.gate import GateLimits
from gateway.server.telemetry import Telemetry
from gateway.services.keys.secret import Secrets
from gateway.services.keys.service import KeysOptions
from gateway.services.ledger.service import LedgerOptions
from gateway.services.prices.service import Place
from gateway.settings import Price, Secret, Settings, pico_usd_per_search_unit, pico_usd_per_token, resolve
from gateway.upstream.fetching import FetchLimits
from gateway.upstream.retries import RetryOptions

_MB = 1_048_576
_END_USERS = "end-users/v1"


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
        statement_timeout_s=ledger.statement_timeout_s,
        adopt_interval_s=ledger.adopt_interval_s,
        months_ahead=ledger.months_ahead,
        max_journal_mb=ledger.max_journal_mb,
        on_journal_full=ledger.on_journal_full,
        retention_months=ledger.retention_months,
        rollup_retention_months=ledger.rollup_retention_months,
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


def price_overrides(settings: Settings) -> dict[Place, PriceOverride]:
    """Declared prices by where they hold. Who asks for a target as `provider/model` has the price of the first model
    that declares one for it."""
    prices: dict[Place, PriceOverride] = {}
    for model in settings.models:
        for target in model.targets:
            declared = target.price or model.price
            if declared is not None:
                name = f"{target.provider}/{target.model}"
                prices[model.name, name] = price = _price_override(declared)
                prices.setdefault(("", name), price)
    return prices


def _price_override(price: Price) -> PriceOverride:
    def pico(usd: Decimal | None) -> int | None:
        return None if usd is None else pico_usd_per_token(usd)

    return PriceOverride(
        input=pico_usd_per_token(price.input_usd_per_mtok),
        output=pico_usd_per_token(price.output_usd_per_mtok),
        cached=pico(price.cached_input_usd_per_mtok),
        cache_write=pico(price.cache_write_usd_per_mtok),
        cache_write_1h=pico(price.cache_write_1h_usd_per_mtok),
        audio_in=pico(price.audio_input_usd_per_mtok),
        audio_out=pico(price.audio_output_usd_per_mtok),
        image_in=pico(price.image_input_usd_per_mtok),
        image_out=pico(price.image_output_usd_per_mtok),
        search_unit=pico_usd_per_search_unit(price.usd_per_search_unit or Decimal(0)),
    )


def is_loopback(host: str) -> bool:
    """Can only this machine reach `host`?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The proxy of `upstream.proxy`, as `Origin.parse` takes it. Raises SettingsError where it is not there."""
    proxy = settings.upstream.proxy
    found = resolve(proxy, environ) if isinstance(proxy, Secret) else proxy
    return None if found == "none" else found


def end_users_keys(secrets: Secrets) -> list[bytes]:
    """What end users are hashed with, and what they were hashed with under the secret before."""
    return [secret.subkey(_END_USERS) for secret in secrets.all]


def reporting_of(settings: Settings, secrets: Secrets) -> Reporting:
    """How tags and end users are written down."""
    wanted = settings.reporting
    return Reporting(
        max_tags=wanted.max_distinct_tags,
        max_users=wanted.max_distinct_users,
        hash_key=end_users_keys(secrets)[0] if wanted.hash_users else None,
    )
