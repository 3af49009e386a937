"""One limit, and the limits that the configuration declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.settings import Limits as Declared
from gateway.settings import Settings
from gateway.store.scopes import Scope

OnStoreFailure = Literal["deny", "allow", "local"]
NUMBERS = (
    "requests_per_minute",
    "requests_per_hour",
    "requests_per_day",
    "tokens_per_minute",
    "tokens_per_hour",
    "tokens_per_day",
    "max_concurrency",
)
# What can be changed of a limit.
CHANGEABLE = (*NUMBERS, "on_store_failure")


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be asked for at one place (see store/scopes.py); None: as much as you like, 0: nothing.

    `id` is a row's, or begins with `config:`. `on_store_failure` says what to do while nothing can be counted.
    """

    id: str
    scope: Scope
    subject: str = ""
    model: str | None = None
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    max_concurrency: int | None = None
    on_store_failure: OnStoreFailure = "local"


def declared_limits(settings: Settings) -> list[Limit]:
    """What `settings` declare; the ids stay the same from load to load."""
    return [
        Limit(
            ":".join(filter(None, ("config", scope, subject))),
            scope,
            subject,
            None,
            *(getattr(declared, name) for name in CHANGEABLE),
        )
        for scope, subject, declared in _places(settings)
        if declared is not None
    ]


def _places(settings: Settings) -> Iterator[tuple[Scope, str, Declared | None]]:
    yield "global", "", settings.limits
    for name, provider in settings.providers.items():
        yield "provider", name, provider.limits
    for model in settings.models:
        yield "model", model.name, model.limits
        for target in model.targets:
            yield "target", f"{target.provider}/{target.model}", target.limits
