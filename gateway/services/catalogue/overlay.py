"""What was made over the admin API, laid over the configuration, which wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.settings import Model, Provider, Settings
from gateway.settings.checks import RESERVED_MODEL_NAMES, check


@dataclass(frozen=True, slots=True)
class Made:
    """Enabled providers by name and enabled models. `problems` says by provider why its row cannot be read."""

    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: tuple[Model, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effective:
    """`settings` with what was made; `made` are the names of those providers in it that were. `left_out` says
    why others are not in force, by `("provider", name)` or `("model", name)`.
    """

    settings: Settings
    made: frozenset[str] = frozenset()
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict)


def overlay(settings: Settings, made: Made, types: Collection[str]) -> Effective:
    """`settings` and what was made, so that all parts fit each other. `types` are the provider types there are."""
    left_out = {("provider", name): reason for name, reason in made.problems.items()}
    providers = dict(settings.providers)
    for name, provider in made.providers.items():
        if name in settings.providers:
            left_out["provider", name] = "the configuration declares a provider of this name"
        elif provider.type not in types:
            left_out["provider", name] = f"there is no provider type '{provider.type}' in this version"
        else:
            providers[name] = provider
    taken = {name for model in settings.models for name in (model.name, *model.aliases)} | RESERVED_MODEL_NAMES
    models = []
    for model in made.models:
        targets = tuple(target for target in model.targets if target.provider in providers)
        if model.name in taken:
            left_out["model", model.name] = "the configuration declares this name"
        elif not targets:
            left_out["model", model.name] = "none of its providers is in force"
        else:
            aliases = tuple(alias for alias in model.aliases if alias not in taken)
            models.append(model.model_copy(update={"targets": targets, "aliases": aliases}))
            taken |= {model.name, *aliases}
    fitting = [_with_known_fallbacks(model, taken) for model in models]
    laid_over = settings.model_copy(update={"providers": providers, "models": (*settings.models, *fitting)})
    return Effective(laid_over, frozenset(providers.keys() - settings.providers.keys()), left_out)


def _with_known_fallbacks(model: Model, known: Collection[str]) -> Model:
    kept = {
        kind: tuple(name for name in getattr(model, kind) if name in known)
        for kind in ("context_fallbacks", "policy_fallbacks")
    }
    return model.model_copy(update=kept)


def check_model(
    settings: Settings, providers: Mapping[str, Provider], others: Iterable[Model], model: Model, types: Collection[str]
) -> None:
    """Does `model` fit the configuration, and the `providers` and `others` that were made?

    Raises GatewayError invalid_field; conflict for a name that is taken.
    """
    models = (*settings.models, *others, model)
    whole = settings.model_copy(update={"providers": {**providers, **settings.providers}, "models": models})
    found: list[tuple[str, str]] = []

    def report(path: tuple[str | int, ...], message: str, suggestion: str | None) -> None:
        if path[:2] == ("models", len(models) - 1):
            hint = f" (did you mean {suggestion}?)" if suggestion else ""
            found.append((".".join(map(str, path[2:])), f"{message}{hint}"))

    check(whole, types, {name: True for name in settings.stages}, report)
    if found:
        place, message = found[0]
        code = "conflict" if "already taken" in message and place == "name" else "invalid_field"
        raise GatewayError(code, f"`{place}`: {message}", param=place)
