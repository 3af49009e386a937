"""`Keys`: from a token to the key it stands for."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from gateway.errors import GatewayError
from gateway.services.keys.allowances import Allowances
from gateway.services.keys.format import maker_of, redact
from gateway.services.keys.key import AllowList, Key
from gateway.services.keys.lookup import (
    DISABLED,
    OVERLOADED,
    REVOKED,
    UNAVAILABLE,
    KeyStoreAway,
    Lookups,
    Row,
)
from gateway.services.keys.register import KeyRegister
from gateway.services.keys.secret import Secret, Secrets, same_secret
from gateway.services.keys.snapshot import Snapshot
from gateway.store.postgres import REQUEST_TIMEOUT_S, Postgres
from gateway.store.sql import load
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.keys")

MASTER_NAME = "master"
EXPIRED = "expired_api_key"
_KEYS = "api_keys"
# Whom a key belongs to: disabled or deleted, they take their keys with them.
_HOLDERS = frozenset({"organisations", "teams", "users"})
_HOLDER_REFUSALS = {"organisation_disabled": "organisation", "team_disabled": "team", "user_disabled": "user"}
_STALE_CHECK_S = 0.25
_RELOAD_BATCH = 500
_RELOAD_BACK_OFF_S = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class KeysOptions:
    """`cache_size` warm keys; `negative_cache_size` unknown or refused ones, each for `negative_cache_s`.

    When changes have not been heard of for `max_stale_s`, `refuse` trusts a warm key only so long
    after its row was read (then it is read again: 503 where that fails), `go_on` trusts it on.
    """

    cache_size: int = 100_000
    negative_cache_size: int = 10_000
    negative_cache_s: float = 10.0
    max_stale_s: float = 30.0
    on_stale: Literal["refuse", "go_on"] = "go_on"
    lookup_timeout_s: float = REQUEST_TIMEOUT_S


class Keys:
    """The keys of this gateway. `find_cached` is the hot path; `find` answers what that cannot.

    Give `on_change` to `Postgres.listen("gateway_changes", …)` before serving. `register` makes and
    changes keys; `master_key` stands above them all and never is in the database.
    """

    def __init__(
        self,
        postgres: Postgres,
        secrets: Secrets,
        tasks: Tasks,
        *,
        master_key: str | None = None,
        options: KeysOptions | None = None,
        allowances: Allowances | None = None,
        before_use: Callable[[Sequence[str]], Awaitable[None]] | None = None,
    ) -> None:
        """`before_use` is awaited with the `line_id`s of keys that are about to be warm; it may raise GatewayError."""
        self._options = options = options or KeysOptions()
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._secrets = secrets
        self._before_use = before_use
        self._tasks = tasks
        self._sql = load("gateway.services.keys")
        self._snapshot = Snapshot(
            size=options.cache_size, refused_size=options.negative_cache_size, refused_ttl_s=options.negative_cache_s
        )
        self._lookups = Lookups(self._read_by_hash, self._snapshot, tasks)
        self.register = KeyRegister(postgres, secrets, self._snapshot.forget, allowances)
        self._master_key = master_key or None
        self._master = Key(id=None, name=MASTER_NAME, is_master=True)
        self._get, self._touch = self._snapshot.get, self._snapshot.touch
        self._refuse_stale = options.on_stale == "refuse"
        self._is_stale = False
        self._next_stale_check_s = 0.0
        self._doubt_since_s: float | None = None
        self._read_again_before_s = 0.0
        self._reloading: asyncio.Task[Any] | None = None
        self._reload_again = False

    # --- the hot path -------------------------------------------------------------------------

    def find_cached(self, token: str) -> Key | None:
        """The warm, unexpired key of `token`; None says nothing but that `find` must be asked."""
        key = self._get(token)
        if key is None:
            return None
        now_s = time.time()
        expires_at_us = key.expires_at_us
        if expires_at_us is not None and now_s * 1e6 >= expires_at_us:
            return None
        if key.loaded_at_s < self._read_again_before_s or (self._refuse_stale and not self._is_trusted(key)):
            return None
        self._touch(token)
        return key

    async def find(self, token: str) -> Key:
        """The key of `token`, from the database when it is not warm.

        Raises `GatewayError`: `missing_api_key`, `invalid_api_key` (also revoked), `disabled_api_key`,
        `organisation_disabled`, `team_disabled`, `user_disabled` (also deleted), `expired_api_key`,
        `key_store_unavailable` when the database cannot say, `overloaded`.
        """
        if not token:
            raise GatewayError(
                "missing_api_key", "No API key was given. Send one as `Authorization: Bearer sk-kc-…` or `x-api-key`."
            )
        if (key := self.find_cached(token)) is not None:
            return key
        if self._master_key is not None and same_secret(token, self._master_key):
            return self._master
        maker = maker_of(token, self._secrets)
        if maker is None:
            raise _refused("invalid_api_key", token)
        refusal = self._snapshot.refusal(token)
        if refusal is not None:
            raise _refused(refusal, token)
        key = await self._look_up(token, maker)
        if key.expires_at_us is not None and time.time() * 1e6 >= key.expires_at_us:
            raise _refused(EXPIRED, token)
        return key

    async def _look_up(self, token: str, maker: Secret) -> Key:
        """The key as it now is; as it last was where the database does not say and the options allow it."""
        warm = self._get(token)
        trusted = warm is not None and (not self._refuse_stale or self._is_trusted(warm))
        if warm is not None and trusted and warm.loaded_at_s >= self._read_again_before_s:
            return warm
        verdict = await self._lookups.find(token, maker.hash_token(token))
        if verdict.key is not None:
            return verdict.key
        if warm is not None and trusted and verdict.refusal in (UNAVAILABLE, OVERLOADED):
            return warm
        raise _refused(verdict.refusal, token)

    def _is_trusted(self, key: Key) -> bool:
        now_s = time.monotonic()
        if now_s >= self._next_stale_check_s:
            self._next_stale_check_s = now_s + _STALE_CHECK_S
            self._is_stale = self.stale_s() > self._options.max_stale_s
        return not self._is_stale or now_s - key.loaded_at_s < self._options.max_stale_s

    # --- changes ------------------------------------------------------------------------------

    def on_change(self, payload: str) -> None:
        """Forget what a notification on `gateway_changes` touches; `reload` re-reads all that is warm."""
        table, _, row_id = payload.partition(":")
        if payload == "reload":
            self._start_reload()
        elif table != _KEYS and table not in _HOLDERS:
            return
        elif row_id == "reload":
            # Many rows were changed just now: a key that is used before its turn is read at once. After a
            # gap (`reload`) that would hold up every request just when the database comes back.
            self._read_again_before_s = time.monotonic()
            self._start_reload()
        elif table == _KEYS:
            self._snapshot.forget(row_id)
        else:
            self._snapshot.forget_holder(row_id)

    async def reload(self) -> None:
        """Read every warm key's row again; returns when all are. Until then the old ones stay in force."""
        await asyncio.shield(self._start_reload())

    def stale_s(self) -> float:
        """For how long changes may have gone unheard, in seconds; 0.0 when none can have."""
        doubt_s = 0.0 if self._doubt_since_s is None else time.monotonic() - self._doubt_since_s
        return max(doubt_s, self._postgres.listener_stale_s())

    @property
    def warm(self) -> int:
        """How many keys are warm."""
        return len(self._snapshot)

    @property
    def refused(self) -> int:
        """How many refused tokens are remembered."""
        return self._snapshot.refused_count

    @property
    def look_up_queries(self) -> int:
        """How many queries look-ups have made since the start."""
        return self._lookups.queries

    def _start_reload(self) -> asyncio.Task[Any]:
        self._snapshot.doubt()
        if self._doubt_since_s is None:
            self._doubt_since_s = time.monotonic()
        self._reload_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = self._tasks.spawn(self._reload(), name="keys reload")
        return self._reloading

    async def _reload(self) -> None:
        pause_s, longest_s = _RELOAD_BACK_OFF_S
        while self._reload_again:
            self._reload_again = False
            try:
                await self._reload_once()
                continue
            except KeyStoreAway:
                self._reload_again = True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)
        self._doubt_since_s = None

    async def _reload_once(self) -> None:
        ids = self._snapshot.warm_ids()
        for start in range(0, len(ids), _RELOAD_BATCH):
            asked = ids[start : start + _RELOAD_BATCH]
            watch = self._snapshot.watch()
            try:
                rows = await self._read("by_id", [uuid.UUID(key_id) for key_id in asked], self._postgres)
                self._snapshot.replace(asked, [row.key for row in rows.values() if row.refusal is None], watch)
            finally:
                self._snapshot.unwatch(watch)

    # --- the database -------------------------------------------------------------------------

    async def _read_by_hash(self, key_hashes: list[bytes]) -> Mapping[bytes, Row]:
        found = await self._read("by_hash", key_hashes, self._hurried)
        usable = [row.key.line_id for row in found.values() if row.refusal is None and row.key.line_id is not None]
        if usable and self._before_use is not None:
            try:
                await self._before_use(usable)
            except (GatewayError, asyncpg.PostgresError) as error:
                raise KeyStoreAway from error
        return found

    async def _read(self, query: str, wanted: list[Any], postgres: Postgres) -> dict[bytes, Row]:
        """Rows by token hash. Raises `KeyStoreAway`, whatever the database's reason."""
        try:
            rows = await postgres.fetch(self._sql[query], wanted, timeout_s=self._options.lookup_timeout_s)
        except (GatewayError, asyncpg.PostgresError) as error:
            _log.warning("keys: the database could not be asked (%s)", type(error.__cause__ or error).__name__)
            raise KeyStoreAway from error
        return {bytes(row["key_hash"]): _row(row) for row in rows}


def _row(row: asyncpg.Record) -> Row:
    models, endpoints, expires_at = row["models"], row["endpoints"], row["expires_at"]
    key = Key(
        id=str(row["id"]),
        name=row["name"],
        team_id=_text(row["team_id"]),
        team=row["team"],
        line_id=_text(row["line_id"]),
        team_weight=row["team_weight"] or 1.0,
        organisation_id=_text(row["organisation_id"]),
        user_id=_text(row["user_id"]),
        admin_role=row["admin_role"],
        models=None if models is None else AllowList(tuple(models)),
        endpoints=None if endpoints is None else frozenset(endpoints),
        expires_at_us=None if expires_at is None else _microseconds(expires_at),
        loaded_at_s=time.monotonic(),
    )
    refusal = REVOKED if row["revoked_at"] is not None else DISABLED if row["disabled"] else row["holder_refusal"]
    return Row(key, refusal)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _refused(code: str, token: str) -> GatewayError:
    shown = redact(token)
    if code == REVOKED:
        return GatewayError("invalid_api_key", f"The API key {shown} has been revoked.")
    if code == DISABLED:
        return GatewayError(DISABLED, f"The API key {shown} is disabled.")
    if code in _HOLDER_REFUSALS:
        return GatewayError(code, f"The {_HOLDER_REFUSALS[code]} of the API key {shown} is disabled or deleted.")
    if code == EXPIRED:
        return GatewayError(EXPIRED, f"The API key {shown} has expired.")
    if code == UNAVAILABLE:
        return GatewayError(UNAVAILABLE, "The API key cannot be checked just now; try again.", retry_after_s=1)
    if code == OVERLOADED:
        return GatewayError(OVERLOADED, "Too many unknown API keys are being checked; try again.", retry_after_s=1)
    return GatewayError("invalid_api_key", f"The API key {shown} is not a key of this gateway.")
