"""What may be done with a limit or a budget, by who asks and who set it: the one table of it.

What an owner, the master key or the command line has ever set counts as an owner's. Whom a limit or a budget is on is
judged elsewhere: a team's admin gets this far with its own team's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from gateway.errors import GatewayError
from gateway.store.audit import MASTER_ROLE, Actor

# lower: allow less, whatever else stays as it is. change: anything else that changes it.
Act = Literal["set", "lower", "change", "remove", "top up", "reset"]

_EVERYTHING: Final[frozenset[Act]] = frozenset({"set", "lower", "change", "remove", "top up", "reset"})

# By role, and whether an owner set it (a new one is nobody's). What is not here is refused.
AUTHORITY: Final[Mapping[tuple[str, bool], frozenset[Act]]] = {
    (MASTER_ROLE, True): _EVERYTHING,
    (MASTER_ROLE, False): _EVERYTHING,
    ("owner", True): _EVERYTHING,
    ("owner", False): _EVERYTHING,
    ("admin", True): frozenset({"lower"}),
    ("admin", False): _EVERYTHING,
}
_OWNERS: Final = frozenset({MASTER_ROLE, "owner"})
# From the strictest on.
_FAILURES: Final = ("deny", "local", "allow")


def is_owner(actor: Actor) -> bool:
    """Does what `actor` sets count as set by an owner?"""
    return actor.role in _OWNERS


def require(actor: Actor, act: Act, what: str, *, set_by_owner: bool) -> None:
    """Let `actor` do `act` to `what` (limit, budget). Raises GatewayError `role_not_allowed`, which names the rule."""
    allowed = AUTHORITY.get((actor.role, set_by_owner), frozenset())
    if act in allowed:
        return
    if set_by_owner and "lower" in allowed:
        message = f"An owner set this {what}: a team's admin may lower it, but not raise, remove, reset or top it up."
    else:
        message = f"An admin key with the role '{actor.role}' may not {act} a {what}."
    raise GatewayError("role_not_allowed", message)


def require_within_team(actor: Actor, field: str, wanted: int | None, most: int | None) -> None:
    """Hold a team's admin to what its team's own limit or budget allows (`most`; None: it has none).

    Raises GatewayError `role_not_allowed`, which names the field.
    """
    if not is_owner(actor) and most is not None and wanted is not None and wanted > most:
        message = f"`{field}`: a team's admin sets no more than its team's own limits and budgets allow."
        raise GatewayError("role_not_allowed", message, param=field)


def is_no_more(wanted: int | None, most: int | None) -> bool:
    """Does a limit of `wanted` allow no more than one of `most`? None is no limit."""
    return most is None or (wanted is not None and wanted <= most)


def is_no_laxer(wanted: str, before: str) -> bool:
    """The same of `on_store_failure`."""
    return _FAILURES.index(wanted) <= _FAILURES.index(before)
