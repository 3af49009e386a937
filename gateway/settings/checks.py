"""What no single value can tell: that the parts of a configuration fit each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gateway.settings.catalogue import Model, Price
from gateway.settings.mistakes import nearest, quoted
from gateway.settings.root import Settings

Path_ = tuple[str | int, ...]
Report = Callable[[Path_, str, str | None], None]

RESERVED_MODEL_NAMES = frozenset({"auto"})  # the router's own name (design: `model: auto` lets the router choose)

METER = "meter"
NEED_METER = ("admit", "limit_rate", "check_budget")


def check(
    settings: Settings, known_provider_types: Collection[str], known_stages: Mapping[str, bool], report: Report
) -> None:
    """Report all that does not fit. `known_stages` says for each stage whether it may be switched off."""
    for name, provider in settings.providers.items():
        if provider.type not in known_provider_types:
            types = ", ".join(sorted(known_provider_types))
            message = f"there is no provider type {quoted(provider.type)}; there are {types}"
            report(("providers", name, "type"), message, nearest(provider.type, known_provider_types))
    for name, stage in settings.stages.items():
        if name not in known_stages:
            report(("stages", name), f"there is no stage {quoted(name)}", nearest(name, known_stages))
        elif not stage.enabled and not known_stages[name]:
            report(("stages", name, "enabled"), "this stage cannot be switched off", None)
    needing = [name for name in NEED_METER if name in known_stages and settings.stage_enabled(name)]
    if needing and METER in known_stages and not settings.stage_enabled(METER):
        message = f"limits and budgets are kept by what the meter counts: switch off {', '.join(needing)} too"
        report(("stages", METER, "enabled"), message, None)
    chosen = settings.passthrough.provider
    if chosen is not None:
        _check_provider(chosen, ("passthrough", "provider"), settings, known_provider_types, report)
    _check_models(settings, known_provider_types, report)


def _check_provider(name: str, path: Path_, settings: Settings, types: Collection[str], report: Report) -> None:
    if name in settings.providers:
        return
    message = f"no provider {quoted(name)} is declared"
    near = nearest(name, settings.providers)
    if near is None and name in types:
        message += f": add it under providers as {name}: {{type: {name}}}"
    report(path, message, near)


def _check_models(settings: Settings, types: Collection[str], report: Report) -> None:
    owner: dict[str, str] = {}
    limited: set[str] = set()
    for index, model in enumerate(settings.models):
        for path, name in _names(index, model):
            if name in RESERVED_MODEL_NAMES:
                report(path, f"the name {quoted(name)} is reserved", None)
            elif name in owner:
                report(path, f"the model name {quoted(name)} is already taken", None)
            else:
                owner[name] = model.name
        for position, target in enumerate(model.targets):
            _check_provider(
                target.provider, ("models", index, "targets", position, "provider"), settings, types, report
            )
            if target.limits is not None:
                name = f"{target.provider}/{target.model}"
                if name in limited:
                    path = ("models", index, "targets", position, "limits")
                    report(path, f"the target {quoted(name)} has its limits elsewhere already: give them once", None)
                limited.add(name)
        _check_prices(index, model, report)
    _check_fallbacks(settings.models, owner, report)


def _check_prices(index: int, model: Model, report: Report) -> None:
    """A target may be there twice, for its weight, but has one price."""
    prices: dict[str, Price | None] = {}
    for position, target in enumerate(model.targets):
        name = f"{target.provider}/{target.model}"
        if prices.setdefault(name, target.price) != target.price:
            path = ("models", index, "targets", position, "price")
            report(path, f"the target {quoted(name)} has another price above: give it the same one", None)


def _names(index: int, model: Model) -> Iterable[tuple[Path_, str]]:
    yield ("models", index, "name"), model.name
    for position, alias in enumerate(model.aliases):
        yield ("models", index, "aliases", position), alias


def _check_fallbacks(models: Sequence[Model], owner: Mapping[str, str], report: Report) -> None:
    """Both kinds of fallback are one graph: a prompt may meet either refusal at each step."""
    follows: dict[str, set[str]] = {}
    for index, model in enumerate(models):
        for kind, fallbacks in (
            ("context_fallbacks", model.context_fallbacks),
            ("policy_fallbacks", model.policy_fallbacks),
        ):
            for position, name in enumerate(fallbacks):
                path = ("models", index, kind, position)
                if name not in owner:
                    report(path, f"no model {quoted(name)} is declared", nearest(name, owner))
                elif _reaches(owner[name], model.name, follows):
                    report(path, f"falling back to {quoted(name)} leads back to {quoted(model.name)}", None)
                else:
                    follows.setdefault(model.name, set()).add(owner[name])


def _reaches(start: str, goal: str, follows: Mapping[str, Collection[str]]) -> bool:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            ahead.extend(follows.get(name, ()))
    return False
