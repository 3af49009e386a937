"""A database of keys in memory, with what goes wrong in real ones: delays, failures, changes meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.errors import GatewayError
from gateway.services.keys.format import make_token
from gateway.services.keys.secret import Secret, Secrets

SECRET = Secret.parse("the secret that is in force today")
SECRETS = Secrets(SECRET)


class FakePostgres:
    """`fetch` answers the two look-up queries; `hold` makes it wait, `away` fail, `meanwhile` change rows."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.asked: list[list[Any]] = []
        self.away = False
        self.hold: asyncio.Event | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.stale_s = 0.0
        self.most_at_once = 0
        self._at_once = 0

    def add(self, **fields: Any) -> tuple[str, str]:
        """A key's token and id."""
        token, key_id = make_token(SECRET), str(uuid.uuid4())
        self.rows[key_id] = {
            "key_hash": SECRET.hash_token(token),
            "id": uuid.UUID(key_id),
            "name": "k",
            "team_id": None,
            "team": None,
            "organisation_id": None,
            "line_id": uuid.UUID(key_id),
            "team_weight": None,
            "user_id": None,
            "models": None,
            "endpoints": None,
            "disabled": False,
            "revoked_at": None,
            "expires_at": None,
            "admin_role": None,
            "holder_refusal": None,
            **fields,
        }
        return token, key_id

    def revoke(self, key_id: str) -> None:
        self.rows[key_id]["revoked_at"] = datetime.now(UTC)

    def for_requests(self) -> FakePostgres:
        return self

    def listener_stale_s(self) -> float:
        return self.stale_s

    async def fetch(self, query: str, wanted: list[Any], *, timeout_s: float) -> list[dict[str, Any]]:
        assert timeout_s > 0
        self.asked.append(wanted)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.away:
                raise GatewayError("store_unavailable", "The database is not available.")
            field = "key_hash" if "key_hash = ANY" in query else "id"
            found = [dict(row) for row in self.rows.values() if row[field] in set(wanted)]
            if self.meanwhile is not None:
                self.meanwhile()
            await (self.hold.wait() if self.hold else asyncio.sleep(0))
            return found
        finally:
            self._at_once -= 1
