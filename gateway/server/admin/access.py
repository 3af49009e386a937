"""Who may call which path of the admin API: the one table of it.

The master key may call everything. A path and method that is not in the table is closed to every other key. Where a
team's admin is let in, the handler confines it to its team (`AdminRequest.only_team`, `must_own`).
"""

from __future__ import annotations

from typing import Final

from gateway.errors import GatewayError
from gateway.store.audit import MASTER_ROLE

Roles = frozenset[str]

_OWNER: Final = frozenset({"owner"})
_READ: Final = frozenset({"owner", "viewer"})
_TEAM: Final = frozenset({"owner", "admin"})
_TEAM_READ: Final = frozenset({"owner", "admin", "viewer"})

ACCESS: Final[dict[str, dict[str, Roles]]] = {
    "/admin/alerts": {"GET": _TEAM_READ},
    "/admin/audit": {"GET": _TEAM_READ},
    "/admin/budgets": {"GET": _TEAM_READ, "POST": _TEAM},
    "/admin/budgets/{id}": {"GET": _TEAM_READ, "PATCH": _TEAM, "DELETE": _TEAM},
    "/admin/budgets/{id}/reset": {"POST": _TEAM},
    "/admin/budgets/{id}/top-up": {"POST": _TEAM},
    "/admin/config": {"GET": _READ},
    "/admin/keys": {"GET": _TEAM_READ, "POST": _TEAM},
    "/admin/keys/{id}": {"GET": _TEAM_READ, "PATCH": _TEAM, "DELETE": _TEAM},
    "/admin/keys/{id}/rotate": {"POST": _TEAM},
    "/admin/limits": {"GET": _TEAM_READ, "POST": _TEAM},
    "/admin/limits/{id}": {"GET": _TEAM_READ, "PATCH": _TEAM, "DELETE": _TEAM},
    "/admin/models": {"GET": _READ, "POST": _OWNER},
    "/admin/models/{id}": {"GET": _READ, "PATCH": _OWNER, "DELETE": _OWNER},
    "/admin/organisations": {"GET": _READ, "POST": _OWNER},
    "/admin/organisations/{id}": {"GET": _READ, "PATCH": _OWNER, "DELETE": _OWNER},
    "/admin/providers": {"GET": _READ, "POST": _OWNER},
    "/admin/providers/{id}": {"GET": _READ, "PATCH": _OWNER, "DELETE": _OWNER},
    "/admin/providers/{id}/models": {"GET": _READ},
    "/admin/providers/{id}/test": {"POST": _OWNER},
    "/admin/requests/{id}": {"GET": _TEAM_READ},
    "/admin/targets": {"GET": _READ},
    "/admin/teams": {"GET": _TEAM_READ, "POST": _OWNER},
    "/admin/teams/{id}": {"GET": _TEAM_READ, "PATCH": _OWNER, "DELETE": _OWNER},
    "/admin/teams/{id}/members": {"GET": _TEAM_READ, "POST": _TEAM},
    "/admin/teams/{id}/members/{user_id}": {"DELETE": _TEAM},
    "/admin/usage": {"GET": _TEAM_READ},
    "/admin/usage/export": {"GET": _TEAM_READ},
    "/admin/users": {"GET": _TEAM_READ, "POST": _OWNER},
    "/admin/users/{id}": {"GET": _TEAM_READ, "PATCH": _OWNER, "DELETE": _OWNER},
}


def require(role: str, method: str, path: str) -> None:
    """Let `role` call `method` on the path pattern `path`. Raises GatewayError `role_not_allowed` (403)."""
    if role != MASTER_ROLE and role not in ACCESS.get(path, {}).get(method, frozenset()):
        raise GatewayError("role_not_allowed", f"An admin key with the role '{role}' may not {method} {path}.")
