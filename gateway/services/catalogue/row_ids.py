"""Which rows of llm_providers and llm_models are meant by the names that requests are metered under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.settings import Model


@dataclass(frozen=True, slots=True)
class RowIds:
    """Ids (UUIDs as text) by name. What is used ad hoc, and what was declared a moment ago, has none."""

    providers: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    def with_aliases(self, models: Iterable[Model]) -> RowIds:
        """The same, also by the other names of `models`."""
        named = {
            alias: self.models[model.name] for model in models if model.name in self.models for alias in model.aliases
        }
        return RowIds(self.providers, {**named, **self.models})
