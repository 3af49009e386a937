"""On whom a limit or a budget can be set, and how those that apply to somebody are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Literal, Protocol, TypeVar, get_args

Scope = Literal["global", "organisation", "team", "user", "key", "model", "provider", "target"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# Their subject is the id of a row; the others have a name for it.
SCOPES_BY_ID = frozenset({"organisation", "team", "user", "key", "end_user"})
# They can be narrowed to one model.
SCOPES_WITH_MODEL = frozenset({"team", "key"})


class Scoped(Protocol):
    """What is set on a `subject`: an id, or a name; "" for the global scope. `model` narrows it to one model."""

    @property
    def id(self) -> str:
        """Unique among all of its kind."""

    @property
    def scope(self) -> str:
        """One of `SCOPES`, or one of the kind's own."""

    @property
    def subject(self) -> str:
        """Whose it is."""

    @property
    def model(self) -> str | None:
        """The one model that it is about, or None."""


Item = TypeVar("Item", bound=Scoped)
_Place = tuple[str, str, str | None]


class ScopeIndex(Generic[Item]):
    """Items by id and by where they are set. The `of_…` are a few look-ups each; an id that is None has nothing."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._by_id: dict[str, Item] = {}
        self._at: dict[_Place, tuple[Item, ...]] = {}
        for item in items:
            self.put(item)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._by_id.values())

    def get(self, item_id: str) -> Item | None:
        """The item with this id."""
        return self._by_id.get(item_id)

    def put(self, item: Item) -> None:
        """Add an item, in the place of the one with the same id."""
        self.remove(item.id)
        self._by_id[item.id] = item
        self._at[_place(item)] = (*self._at.get(_place(item), ()), item)

    def remove(self, item_id: str) -> None:
        """Take an item away, if it is there."""
        old = self._by_id.pop(item_id, None)
        if old is None:
            return
        left = tuple(item for item in self._at[_place(old)] if item.id != item_id)
        if left:
            self._at[_place(old)] = left
        else:
            del self._at[_place(old)]

    def of_caller(
        self, organisation_id: str | None, team_id: str | None, user_id: str | None, key_id: str | None
    ) -> tuple[Item, ...]:
        """What applies to all that somebody asks for: of everybody, its organisation, team, user and key."""
        return (
            *self.at("global", ""),
            *self.at("organisation", organisation_id),
            *self.at("team", team_id),
            *self.at("user", user_id),
            *self.at("key", key_id),
        )

    def of_model(self, team_id: str | None, key_id: str | None, model: str) -> tuple[Item, ...]:
        """What applies when a model is asked for: the model's own, and what its team and key have for it alone."""
        return (*self.at("model", model), *self.at("team", team_id, model), *self.at("key", key_id, model))

    def of_target(self, provider: str, target: str) -> tuple[Item, ...]:
        """What applies when `target`, `provider/model`, is sent something."""
        return (*self.at("provider", provider), *self.at("target", target))

    def at(self, scope: str, subject: str | None, model: str | None = None) -> tuple[Item, ...]:
        """What is set at exactly this place."""
        return () if subject is None else self._at.get((scope, subject, model), ())


def _place(item: Scoped) -> _Place:
    return item.scope, item.subject, item.model
