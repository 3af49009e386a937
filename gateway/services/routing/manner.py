"""How a configured provider is spoken to: dialect, options, paths, and credentials that are worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.errors import GatewayError
from gateway.providers.provider import Provider, Signed
from gateway.providers.registry import check
from gateway.settings import Provider as ProviderSettings
from gateway.settings import Secret, resolve
from gateway.tasks import Tasks
from gateway.upstream.credentials.credentials import Credentials
from gateway.upstream.credentials.entra import AUTHORITY, EntraCredentials
from gateway.upstream.credentials.fetch import PoolFetch
from gateway.upstream.credentials.google_token import GoogleCredentials
from gateway.upstream.credentials.sigv4 import SigV4Credentials
from gateway.upstream.key_ring import KeyRing
from gateway.upstream.pool import Pool
from gateway.upstream.target import Manner
from gateway.wire.dialects import find_dialect
from gateway.wire.openai import Variations

_GIVEN = ("api_version", "region", "project", "embeddings")


@dataclass(frozen=True, slots=True)
class Signing:
    """What credentials need that age: a way to the token servers, and who keeps their renewals."""

    pool: Pool
    tasks: Tasks


def options_of(known: Provider, declared: ProviderSettings) -> dict[str, str]:
    """What paths, base URL and dialect may name. Raises ValueError for one that must be given and is not."""
    options = dict(known.options)
    for name in _GIVEN:
        value = getattr(declared, name, None)
        if value is not None:
            options[name] = value
    for name, value in options.items():
        if not value:
            raise ValueError(f"a provider of type {known.name} needs its {name}")
    region = options.get("region", "")
    # Google's region `global` has a host without a prefix.
    options["region_prefix"] = "" if region == "global" else f"{region}-"
    return options


def base_url_of(known: Provider, declared: ProviderSettings, options: Mapping[str, str]) -> str:
    """Where the provider is. Raises ValueError where the type has no address of its own and none is given."""
    base_url = declared.base_url or known.base_url.format_map(options)
    if not base_url and not known.library:
        raise ValueError(f"a provider of type {known.name} needs its base_url")
    return base_url


def base_path_of(path: str, known: Provider) -> str:
    """The path of a base URL; `/v1` at its end is left out where the dialect's own paths begin with their version."""
    path = path.rstrip("/")
    if known.dialect != "openai" and not known.base_url.endswith("/v1"):
        path = path.removesuffix("/v1")
    return path


def manner_of(
    known: Provider,
    declared: ProviderSettings,
    options: Mapping[str, str],
    ring: KeyRing | None,
    environ: Mapping[str, str],
    signing: Signing,
) -> Manner:
    """Raises GatewayError where credentials cannot be had, SettingsError for a secret that is not there,
    ValueError for a field, said to be lacking or named otherwise, that no request has."""
    unsupported = known.unsupported if declared.unsupported is None else frozenset(declared.unsupported)
    renamed = known.renamed if declared.rename is None else declared.rename
    check(replace(known, unsupported=unsupported, renamed=renamed))
    return Manner(
        variations=Variations(
            unsupported=unsupported,
            renamed=renamed,
            stream_usage=known.stream_usage if declared.stream_usage is None else declared.stream_usage,
            call_id_characters=known.call_id_characters,
        ),
        dialect=None if known.dialect == "openai" else find_dialect(known.dialect),
        keeps_foreign=known.keeps_foreign,
        options=options,
        paths=known.paths,
        # Who lists the fields that a provider refuses wants them dropped, unless he says otherwise.
        policy={**dict.fromkeys(declared.unsupported or (), "drop"), **declared.lacking},
        keys=ring,
        credentials=None if ring is not None else _credentials(known, declared, options, environ, signing),
    )


def _credentials(
    known: Provider,
    declared: ProviderSettings,
    options: Mapping[str, str],
    environ: Mapping[str, str],
    signing: Signing,
) -> Credentials | None:
    if not isinstance(known.auth, Signed):
        return None
    if known.auth.scheme == "aws":
        return SigV4Credentials(
            _read(declared.access_key_id, "AWS_ACCESS_KEY_ID", environ),
            _read(declared.secret_access_key, "AWS_SECRET_ACCESS_KEY", environ),
            _read(declared.session_token, "AWS_SESSION_TOKEN", environ) or None,
            region=options["region"],
        )
    fetch = PoolFetch(signing.pool)
    if known.auth.scheme == "google":
        given = declared.credentials
        key = None if given is None else resolve(given, environ)
        if given is not None and key is None:
            # Never the machine's own account for a provider that an administrator of the API made.
            raise GatewayError("upstream_auth", "This provider needs credentials: a service account's key, as JSON.")
        return GoogleCredentials(key, fetch=fetch, tasks=signing.tasks)
    return EntraCredentials(
        declared.tenant_id or environ.get("AZURE_TENANT_ID", ""),
        declared.client_id or environ.get("AZURE_CLIENT_ID", ""),
        _read(declared.client_secret, "AZURE_CLIENT_SECRET", environ),
        fetch=fetch,
        tasks=signing.tasks,
        authority=environ.get("AZURE_AUTHORITY_HOST", "").strip() or AUTHORITY,
    )


def _read(secret: Secret | None, variable: str, environ: Mapping[str, str]) -> str:
    return (resolve(secret, environ) or "") if secret is not None else environ.get(variable, "").strip()
