"""Routes from settings: every account, target and limit that can be worked out before a request comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import GatewayError
from gateway.providers.provider import Provider, Signed
from gateway.services.routing.key_rings import KeyRings
from gateway.services.routing.library import library_line
from gateway.services.routing.manner import Signing, base_path_of, base_url_of, manner_of, options_of
from gateway.services.routing.routes import Route, Routes
from gateway.settings import Model as ModelSettings
from gateway.settings import Provider as ProviderSettings
from gateway.settings import Secret, Settings, SettingsError, Timeouts, resolve
from gateway.settings import Target as TargetSettings
from gateway.settings.mistakes import Mistake
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule
from gateway.upstream.connection import Limits, Origin
from gateway.upstream.demo import DemoLine
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.key_ring import KeyRing, ProviderKey
from gateway.upstream.pool import Pool
from gateway.upstream.target import Account, Line, PoolLine, Target

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
    """What settings alone do not say: known provider types, the environment, local servers that answered.

    `made` are the providers that were made over the admin API: each is bound by `rule`, and where it cannot be used
    it is left out, with the reason in `left_out`, in place of keeping all others from being built.
    """

    registry: Mapping[str, Provider]
    environ: Mapping[str, str]
    answering: Collection[str]
    pool: Pool
    breakers: Breakers
    rings: KeyRings = field(default_factory=KeyRings)
    made: Collection[str] = ()
    rule: AddressRule = field(default_factory=AddressRule)
    left_out: dict[str, str] = field(default_factory=dict)
    tasks: Tasks = field(default_factory=Tasks)


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
    rings: dict[str, KeyRing] = {}
    accounts = _accounts(declared_or_found, settings, around, rings)
    declared: dict[str, Route] = {}
    for model in settings.models:
        route = _route(model, accounts, around.breakers)
        if not route.targets:
            continue  # it was made for a provider that is left out
        declared[model.name] = route
        for alias in model.aliases:
            declared[alias] = replace(route, name=alias, alias_of=model.name)
    targets = {target.name: target for route in declared.values() for target in route.targets}

    def direct(provider: str, model: str) -> Target | None:
        account = accounts.get(provider)
        if account is None:
            return None
        return Target(account, model, around.breakers.of(f"{provider}/{model}"), account.limits)

    around.rings.keep(rings)
    return Routes(declared, tuple(accounts), direct, tuple(targets.values())), accounts


def switched_on(
    settings: Settings, registry: Mapping[str, Provider], environ: Mapping[str, str], answering: Collection[str]
) -> list[str]:
    """The provider types that nobody declared but whose usual key is in the environment, or that answer locally."""
    return [
        name
        for name, known in registry.items()
        if name not in settings.providers
        and known.base_url
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
            options={} if model.max_tokens is None else {"max_tokens": str(model.max_tokens)},
            policy=model.lacking,
            serves=model.name,
        )

    in_force = [target(declared) for declared in model.targets if declared.provider in accounts]
    targets = sorted(in_force, key=lambda made: made.priority)
    return Route(model.name, tuple(targets), model.context_fallbacks, model.policy_fallbacks)


def _limits(limits: Limits, timeouts: Timeouts) -> Limits:
    return replace(
        limits,
        connect_s=timeouts.connect_s or limits.connect_s,
        first_byte_s=timeouts.first_byte_s or limits.first_byte_s,
        idle_s=timeouts.idle_s or limits.idle_s,
        total_s=timeouts.total_s or limits.total_s,
    )


def _accounts(
    declared: Mapping[str, ProviderSettings], settings: Settings, around: Surroundings, rings: dict[str, KeyRing]
) -> dict[str, Account]:
    """The accounts by name; `rings` is filled."""
    accounts = {}
    for name, provider in declared.items():
        try:
            accounts[name] = _checked_account(name, provider, settings, around, rings)
        except SettingsError as error:
            if name not in around.made:
                raise
            around.left_out[name] = error.mistakes[0].message
    return accounts


def _checked_account(
    name: str, declared: ProviderSettings, settings: Settings, around: Surroundings, rings: dict[str, KeyRing]
) -> Account:
    try:
        return _account(name, declared, settings, around, rings)
    except UnicodeEncodeError:
        mistake = "its key or a header has characters that a header cannot carry"
    except (GatewayError, ValueError) as error:  # their messages hold no secret
        mistake = str(error)
    files = tuple(settings.source_files)
    raise SettingsError([Mistake(str(files[0]) if files else "", 0, f"providers.{name}", mistake)], files)


def _account(
    name: str, declared: ProviderSettings, settings: Settings, around: Surroundings, rings: dict[str, KeyRing]
) -> Account:
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
    options = options_of(known, declared)
    base_url = base_url_of(known, declared, options)
    line, host = _line(name, base_url, known, declared, settings, around)
    keys = [] if known.local else _keys(known, declared, around.environ)
    headers = {**known.headers, **(keys[0].headers if len(keys) == 1 else {})}
    ring = around.rings.make(name, keys) if keys else None
    if ring is not None:
        rings[name] = ring
    if declared.organization:
        headers["openai-organization"] = declared.organization
    for header, value in declared.headers.items():
        headers[header.lower()] = resolve(value, around.environ) or ""
    return Account(
        name=name,
        type=known.name,
        base_url=base_url,
        base_path=base_path_of(urlsplit(base_url).path, known),
        host=host,
        headers=headers,
        line=line,
        limits=_limits(limits, declared.timeouts),
        manner=manner_of(known, declared, options, ring, around.environ, Signing(around.pool, around.tasks)),
        local=known.local,
        finishes=(declared.on_client_gone or upstream.on_client_gone) == "finish",
    )


def _line(
    name: str,
    base_url: str,
    known: Provider,
    declared: ProviderSettings,
    settings: Settings,
    around: Surroundings,
) -> tuple[Line, bytes]:
    made = name in around.made
    if known.local:
        return DemoLine(), b"demo"
    if known.library:
        return library_line(name, declared, settings, around.tasks, made=made), known.library.encode()
    proxy = declared.proxy or settings.upstream.proxy
    if isinstance(proxy, Secret):
        proxy = resolve(proxy, around.environ) or "none"
    origin = Origin.parse(
        base_url,
        ca_file=_text(declared.ca_file),
        cert_file=_text(declared.cert_file),
        key_file=_text(declared.key_file),
        proxy=None if proxy == "none" else proxy,
        rule=around.rule if made else None,
    )
    return PoolLine(around.pool, origin), origin.host_header


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _keys(known: Provider, declared: ProviderSettings, environ: Mapping[str, str]) -> list[ProviderKey]:
    """The provider's keys. Raises SettingsError where one was named, or is needed, and is not there."""
    if declared.api_keys:
        named = [(key.key, key.weight) for key in declared.api_keys]
    elif declared.api_key is not None:
        named = [(declared.api_key, 1.0)]
    elif known.auth.env and (not isinstance(known.auth, Signed) or environ.get(known.auth.env, "").strip()):
        named = [(Secret("env", known.auth.env), 1.0)]
    else:
        named = []
    keys = []
    for number, (secret, weight) in enumerate(named, 1):
        value = resolve(secret, environ)
        if value:
            label = f"key {number}" if secret.kind == "stored" else secret.reference
            headers = known.auth.headers(value)
            for header in headers.values():
                header.encode("latin-1")
            keys.append(ProviderKey(label, value, weight=weight, headers=headers))
    return keys
