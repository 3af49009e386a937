"""`check-config FILE`: is this configuration good, and what would it do?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import click

from gateway.providers.provider import Extra
from gateway.settings import Mistake, Model, Provider, Settings, SettingsError, is_set, load


def check_config(
    provider_types: Mapping[str, str | None], stages: Mapping[str, bool], extras: Mapping[str, Extra]
) -> click.Command:
    """The command, for a registry and a pipeline.

    `provider_types` maps each type to the environment variable in which its key usually stands (None:
    it needs no key); `stages` maps each stage, in order, to whether it may be switched off; `extras` are what
    some types need beside the base installation.
    """

    @click.command(name="check-config")
    @click.argument("file", type=click.Path(path_type=Path))
    def command(file: Path) -> None:
        """Check FILE and what it includes, and say what it would serve.

        Mistakes are printed as FILE:LINE: PATH: MESSAGE, and the exit status is 1.
        """
        try:
            settings = load(file, os.environ, provider_types, stages)
            if missing := [*missing_extras(settings, extras)]:
                raise SettingsError(Mistake(str(file), 0, path, message) for path, message in missing)
        except SettingsError as error:
            click.echo(str(error), err=True)
            count = len(error.mistakes)
            click.echo(f"{count} mistake{'' if count == 1 else 's'}", err=True)
            raise SystemExit(1) from None
        for line in summary(settings, os.environ, provider_types, stages):
            click.echo(line)

    return command


def missing_extras(settings: Settings, extras: Mapping[str, Extra]) -> Iterator[tuple[str, str]]:
    """The setting and the message for each provider whose type needs what is not installed. Nothing is imported."""
    for name, provider in settings.providers.items():
        extra = extras.get(provider.type)
        if extra is None or (extra.unless_keyed and (provider.api_key is not None or provider.api_keys)):
            continue
        if not _is_installed(extra.module):
            yield f"providers.{name}", f"a provider of type {provider.type} needs the extra: {extra.command}"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package within another: not even that one is there
        return False


def summary(
    settings: Settings,
    environ: Mapping[str, str],
    provider_types: Mapping[str, str | None],
    stages: Mapping[str, bool],
) -> Iterator[str]:
    """What the settings amount to, line by line: models and targets, providers and keys, stages in force."""
    yield f"OK: {', '.join(str(file) for file in settings.source_files)}"
    yield from ("", "models")
    for model in settings.models:
        yield f"  {' = '.join((model.name, *model.aliases))}"
        yield from _targets(model)
    if not settings.models:
        yield "  (none)"
    yield from ("", "providers")
    for name, provider in settings.providers.items():
        where = f", {provider.base_url}" if provider.base_url else ""
        yield f"  {name}: {provider.type}{where}, {_key(provider, environ, provider_types)}"
    if not settings.providers:
        yield "  (none)"
    yield from ("", "stages, in order")
    for stage in stages:
        if settings.stage_enabled(stage):
            yield f"  {stage}"
    if off := [stage for stage in stages if not settings.stage_enabled(stage)]:
        yield f"  switched off: {', '.join(off)}"


def _targets(model: Model) -> Iterator[str]:
    """The targets in the order in which they are tried, with each one's share of its priority."""
    for priority in sorted({target.priority for target in model.targets}):
        equals = [target for target in model.targets if target.priority == priority]
        total = sum(target.weight for target in equals)
        for target in equals:
            share = f", {target.weight / total:.0%} of requests" if len(equals) > 1 else ""
            yield f"    {priority}: {target.provider}/{target.model}{share}"
    if model.context_fallbacks:
        yield f"    prompt too long: {', '.join(model.context_fallbacks)}"
    if model.policy_fallbacks:
        yield f"    content refused: {', '.join(model.policy_fallbacks)}"


def _key(provider: Provider, environ: Mapping[str, str], provider_types: Mapping[str, str | None]) -> str:
    secret = provider.api_key
    if secret is not None:
        if secret.kind == "none":
            return "no key"
        return f"key {secret.reference} is {'set' if is_set(secret, environ) else 'NOT SET'}"
    variable = provider_types.get(provider.type)
    if variable is None:
        return "no key"
    return f"key env:{variable} is {'set' if environ.get(variable, '').strip() else 'NOT SET'}"
