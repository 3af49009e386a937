"""Providers that are called by a Python library of their own in place of the gateway's connections."""

from __future__ import annotations

from collections.abc import Callable

from gateway.settings import Provider as ProviderSettings
from gateway.settings import Settings
from gateway.tasks import Tasks
from gateway.upstream.litellm_library import INSTALL, is_installed
from gateway.upstream.litellm_line import LiteLLMLine

# What the library knows from the environment, or does its own way: set here it would be ignored.
_NOT_TAKEN = (
    "access_key_id",
    "ca_file",
    "cert_file",
    "client_id",
    "client_secret",
    "credentials",
    "key_file",
    "project",
    "proxy",
    "region",
    "secret_access_key",
    "session_token",
    "tenant_id",
)


def library_line(
    name: str,
    declared: ProviderSettings,
    settings: Settings,
    tasks: Tasks,
    *,
    made: bool,
    installed: Callable[[], bool] = is_installed,
) -> LiteLLMLine:
    """The line of the provider called `name`; `made` over the admin API.

    Raises ValueError where the library is not installed, for settings that it would ignore, and for a provider that
    was made: it connects by itself, so where it goes cannot be held to `security.allow_private_upstreams`.
    """
    if made:
        raise ValueError(f"a provider of type {declared.type} can be declared in the configuration file only")
    ignored = [field for field in _NOT_TAKEN if getattr(declared, field) is not None]
    if ignored:
        raise ValueError(
            f"{ignored[0]}: a provider of type {declared.type} does not take it: set what the library reads from the"
            " environment instead"
        )
    if not installed():
        raise ValueError(f"a provider of type {declared.type} needs the extra: {INSTALL}")
    named = {target.model for model in settings.models for target in model.targets if target.provider == name}
    return LiteLLMLine(
        tasks,
        # Some providers of litellm's take an address in place of a model's name.
        models={model for model in named if "://" not in model},
        api_base=declared.base_url or "",
        api_version=declared.api_version or "",
        header_names=(*declared.headers, *(("openai-organization",) if declared.organization else ())),
    )
