"""Routes from settings: every account, target and limit that can be worked out before a request comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import GatewayError
from gateway.providers.provider import Provider
from gateway.services.routing.routes import Route, Routes
from gateway.settings import Model as ModelSettings
from gateway.settings import Provider as ProviderSettings
from gateway.settings import Secret, Settings, SettingsError, Timeouts, resolve
from gateway.settings import Target as TargetSettings
from gateway.settings.mistakes import Mistake
from gateway.upstream.connection import Limits, Origin
from gateway.upstream.demo import DemoLine
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.pool import Pool
from gateway.upstream.target import Account, Line, PoolLine, Target
from gateway.wire.openai import Variations

_MAX_BREAKERS = 10_000


class Breakers:
    """The breaker of each target by name, kept across reloads so that a reload heals nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._options = BreakerOptions()
        self._made: dict[str, Breaker] = {}

    def use(self, options: BreakerOptions) -> None:
        """From now on make breakers with `options`; those that differ are made anew."""
        if options != self._options:
            self._options = options
            self._made = {}

    def of(self, name: str) -> Breaker:
        """The breaker of the target called `name`."""
        breaker = self._made.get(name)
        if breaker is None:
            if len(self._made) >= _MAX_BREAKERS:
                self._made.clear()
            breaker = self._made[name] = Breaker(self._options, self._clock)
        return breaker


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What settings alone do not say: known provider types, the environment, local servers that answered."""

    registry: Mapping[str, Provider]
    environ: Mapping[str, str]
    answering: Collection[str]
    pool: Pool
    breakers: Breakers


def build_routes(settings: Settings, around: Surroundings) -> tuple[Routes, dict[str, Account]]:
    """The snapshot for `settings`, and its accounts by name.

    Raises SettingsError for a secret that is not there, and for a URL or a header that cannot be sent.
    """
    options = settings.breaker
    around.breakers.use(
        BreakerOptions(
            window_s=options.window_s,
            min_requests=options.min_requests,
            error_rate=options.error_rate,
            consecutive_failures=options.consecutive_failures,
            open_s=options.open_s,
        )
    )
    by_themselves = switched_on(settings, around.registry, around.environ, around.answering)
    declared_or_found = {**{name: ProviderSettings(type=name) for name in by_themselves}, **settings.providers}
    accounts = {name: _checked_account(name, found, settings, around) for name, found in declared_or_found.items()}
    declared: dict[str, Route] = {}
    for model in settings.models:
        route = _route(model, accounts, around.breakers)
        for name in (model.name, *model.aliases):
            declared[name] = replace(route, name=name)
    targets = {target.name: target for route in declared.values() for target in route.targets}

    def direct(provider: str, model: str) -> Target | None:
        account = accounts.get(provider)
        if account is None:
            return None
        return Target(account, model, around.breakers.of(f"{provider}/{model}"), account.limits)

    return Routes(declared, tuple(accounts), direct, tuple(targets.values())), accounts


def switched_on(
    settings: Settings, registry: Mapping[str, Provider], environ: Mapping[str, str], answering: Collection[str]
) -> list[str]:
    """The provider types that nobody declared but whose usual key is in the environment, or that answer locally."""
    return [
        name
        for name, known in registry.items()
        if name not in settings.providers
        and (name in answering or (known.auth.env and environ.get(known.auth.env, "").strip()))
    ]


def _route(model: ModelSettings, accounts: Mapping[str, Account], breakers: Breakers) -> Route:
    def target(declared: TargetSettings) -> Target:
        account = accounts[declared.provider]
        return Target(
            account,
            declared.model,
            breakers.of(f"{declared.provider}/{declared.model}"),
            _limits(account.limits, model.timeouts),
            weight=declared.weight,
            priority=declared.priority,
        )

    targets = sorted((target(declared) for declared in model.targets), key=lambda made: made.priority)
    return Route(model.name, tuple(targets), model.context_fallbacks, model.policy_fallbacks)


def _limits(limits: Limits, timeouts: Timeouts) -> Limits:
    return replace(
        limits,
        connect_s=timeouts.connect_s or limits.connect_s,
        first_byte_s=timeouts.first_byte_s or limits.first_byte_s,
        idle_s=timeouts.idle_s or limits.idle_s,
        total_s=timeouts.total_s or limits.total_s,
    )


def _checked_account(name: str, declared: ProviderSettings, settings: Settings, around: Surroundings) -> Account:
    try:
        return _account(name, declared, settings, around)
    except UnicodeEncodeError:
        mistake = "its key or a header has characters that a header cannot carry"
    except (GatewayError, ValueError) as error:  # their messages hold no secret
        mistake = str(error)
    files = tuple(settings.source_files)
    raise SettingsError([Mistake(str(files[0]) if files else "", 0, f"providers.{name}", mistake)], files)


def _account(name: str, declared: ProviderSettings, settings: Settings, around: Surroundings) -> Account:
    known = around.registry[declared.type]
    upstream = settings.upstream
    limits = Limits(
        connect_s=upstream.connect_timeout_s,
        first_byte_s=upstream.first_byte_timeout_s,
        idle_s=upstream.idle_timeout_s,
        total_s=upstream.total_timeout_s,
        max_head_bytes=upstream.max_head_bytes,
        max_body_bytes=upstream.max_answer_mb * 1_048_576,
    )
    base_url = declared.base_url or known.base_url
    line, host = _line(base_url, known, declared, settings, around)
    secret = None if known.local else _secret(known, declared, around.environ)
    headers = known.auth.headers(secret) if secret else {}
    if declared.organization:
        headers["openai-organization"] = declared.organization
    for header, value in declared.headers.items():
        headers[header] = resolve(value, around.environ) or ""
    return Account(
        name=name,
        type=known.name,
        base_url=base_url,
        base_path=urlsplit(base_url).path.rstrip("/"),
        host=host,
        headers=headers,
        line=line,
        limits=_limits(limits, declared.timeouts),
        variations=Variations(
            unsupported=known.unsupported if declared.unsupported is None else frozenset(declared.unsupported),
            renamed=known.renamed if declared.rename is None else declared.rename,
            stream_usage=known.stream_usage if declared.stream_usage is None else declared.stream_usage,
        ),
        local=known.local,
    )


def _line(
    base_url: str, known: Provider, declared: ProviderSettings, settings: Settings, around: Surroundings
) -> tuple[Line, bytes]:
    if known.local:
        return DemoLine(), b"demo"
    proxy = declared.proxy or settings.upstream.proxy
    if isinstance(proxy, Secret):
        proxy = resolve(proxy, around.environ) or "none"
    origin = Origin.parse(
        base_url,
        ca_file=_text(declared.ca_file),
        cert_file=_text(declared.cert_file),
        key_file=_text(declared.key_file),
        proxy=None if proxy == "none" else proxy,
    )
    return PoolLine(around.pool, origin), origin.host_header


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _secret(known: Provider, declared: ProviderSettings, environ: Mapping[str, str]) -> str | None:
    """The provider's key. Raises SettingsError where a key was named, or is needed, and is not there."""
    if declared.api_key is not None:
        return resolve(declared.api_key, environ)
    if not known.auth.env:
        return None
    return resolve(Secret("env", known.auth.env), environ)
