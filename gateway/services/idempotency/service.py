"""The table of requests that are answered once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import GatewayError
from gateway.services.idempotency.answer import Answer
from gateway.store.crypt import CannotOpen, Cipher
from gateway.store.listener import RELOAD
from gateway.store.postgres import REQUEST_TIMEOUT_S, Postgres
from gateway.store.pruning import prune, prune_for_ever
from gateway.store.sql import load
from gateway.tasks import Tasks

if TYPE_CHECKING:
    from asyncpg import Record

_log = logging.getLogger("gateway.idempotency")

# The uses for which the keys are derived (`Secret.subkey`).
ANSWERS_SUBKEY = "idempotent-answers/v1"
BODIES_SUBKEY = "idempotent-bodies/v1"
HEADER = "Idempotency-Key"
CHANNEL = "gateway_idempotency"
_TABLE = "gateway_idempotent_requests"
PRUNE_EVERY_S = 600.0
_PRUNE_BATCH = 500


@dataclass(frozen=True, slots=True)
class IdempotencyOptions:
    """How long an answer is kept and how large it may be, alone and with all others of its API key; how long a claim
    holds that nobody renews."""

    ttl_s: float = 86_400.0
    max_answer_bytes: int = 1_048_576
    max_kept_bytes: int = 268_435_456  # of one API key
    trim_every_s: float = 10.0
    lease_s: float = 10.0
    # A notification may be lost, and a lapse is announced by nobody.
    look_every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for once: the key's scope, and its body's hash under each secret, that in force first.

    `holder` is the API key's id, "" for the master key.
    """

    scope: bytes
    body_hashes: tuple[bytes, ...]
    holder: str = ""


@dataclass(eq=False, slots=True)
class Claim:
    """The right to answer. `sent`: may a provider have been asked? `over`: it was ended, one way or another."""

    scope: bytes
    claim_id: str
    holder: str = ""
    sent: bool = False
    over: bool = False


class Idempotency:
    """Over the table `gateway_idempotent_requests`. Every method raises store_unavailable while PostgreSQL is away."""

    def __init__(
        self, postgres: Postgres, cipher: Cipher, body_keys: Sequence[bytes], options: IdempotencyOptions
    ) -> None:
        """`body_keys` are 32 bytes each, the one in force first. `options` may be replaced at any time."""
        self.options = options
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._cipher = cipher
        self._body_keys = tuple(body_keys)
        self._sql = load("gateway.services.idempotency")
        self._claims: set[Claim] = set()
        self._bells: dict[bytes, set[asyncio.Event]] = {}
        self._to_trim: set[str] = set()

    async def open(self, tasks: Tasks) -> None:
        """Hear what other workers do, renew this one's claims, remove what has expired or is too much."""
        await self._postgres.listen(CHANNEL, self.on_news)
        tasks.spawn(self._hold_for_ever(), name="hold claims on idempotency keys")
        tasks.spawn(self._trim_for_ever(), name="trim kept answers")
        tasks.spawn(prune_for_ever(self.prune, "idempotency keys", PRUNE_EVERY_S), name="remove old idempotency keys")

    def read(self, api_key_id: str | None, path: str, key: bytes, body: bytes) -> Asked:
        """What a request with this header asks for; `api_key_id` None is the master key."""
        holder = api_key_id or ""
        scope = b"\0".join((holder.encode(), path.encode(), key))
        hashes = tuple(hmac.digest(secret, body, "sha256") for secret in self._body_keys)
        return Asked(hashlib.sha256(scope).digest(), hashes, holder)

    async def join(self, asked: Asked, claim_id: str, patience_s: float) -> Claim | Answer:
        """The right to answer, or the answer, waited for as long as `patience_s` if somebody is at it.

        `claim_id` is a UUID, new for every call. Raises idempotency_key_reused, idempotency_in_progress (it took too
        long), idempotency_outcome_unknown, idempotency_answer_too_large.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        free = True
        with self._listening(asked.scope) as bell:
            while True:
                bell.clear()
                if free and (claim := await self._claim(asked, claim_id)) is not None:
                    return claim
                row = await self._hurried.fetchrow(self._sql["look"], asked.scope)
                free = row is None or row["free"]
                if row is None or free:
                    continue
                answer = self._judge(row, asked)
                if answer is not None:
                    return answer
                left_s = deadline - loop.time()
                if left_s <= 0:
                    raise _conflict("idempotency_in_progress", "Another request with this key is still being answered.")
                try:
                    async with asyncio.timeout(min(left_s, self.options.look_every_s)):
                        await bell.wait()
                except TimeoutError:
                    pass

    async def _claim(self, asked: Asked, claim_id: str) -> Claim | None:
        options = self.options
        tag = await self._hurried.execute(
            self._sql["claim"],
            *(asked.scope, claim_id, asked.body_hashes[0], options.lease_s, options.ttl_s, asked.holder),
        )
        if not tag.endswith(" 1"):
            return None
        claim = Claim(asked.scope, claim_id, asked.holder)
        self._claims.add(claim)
        return claim

    def _judge(self, row: Record, asked: Asked) -> Answer | None:
        """The answer, None where somebody is at it. Raises GatewayError where there will be none."""
        if row["body_hash"] not in asked.body_hashes:
            raise GatewayError(
                "idempotency_key_reused", f"This {HEADER} was sent before with another body.", param=HEADER
            )
        state = row["state"]
        if state == "kept":
            try:
                packed, _ = self._cipher.open(row["answer"], _context(asked.scope))
            except CannotOpen:
                raise _unknown("The answer was kept under another secret and cannot be read.") from None
            return Answer.unpack(packed)
        if state == "too_large":
            raise _conflict(
                "idempotency_answer_too_large",
                "The request was answered, and its answer is not kept: it was too large (idempotency.max_answer_kb), "
                "or this API key has too many newer ones (idempotency.max_kept_mb_per_key).",
                should_retry=False,
            )
        if row["lapsed"]:
            raise _unknown("Whoever was answering this request is gone, and a provider may have been asked.")
        return None

    # --- the life of a claim ------------------------------------------------------------------------

    async def mark_sent(self, claim: Claim) -> None:
        """To be called before anything is sent. Raises idempotency_in_progress if another has taken the claim over."""
        claim.sent = True  # also where nobody knows whether this was written
        tag = await self._hurried.execute(self._sql["mark_sent"], claim.scope, claim.claim_id, self.options.lease_s)
        if not tag.endswith(" 1"):
            raise _conflict("idempotency_in_progress", "Another request with this key is being answered.")

    async def keep(self, claim: Claim, answer: Answer | None) -> None:
        """End the claim with its answer; None, and one above the limit, is too large to be kept."""
        options = self.options
        sealed = None
        if answer is not None and len(answer.body) <= options.max_answer_bytes:
            sealed = self._cipher.seal(answer.pack(), _context(claim.scope))
        await self._end("keep", claim, sealed, options.ttl_s)
        if sealed is not None:
            self._to_trim.add(claim.holder)

    async def release(self, claim: Claim) -> None:
        """End the claim without an answer: the next request with the key begins anew."""
        await self._end("release", claim)

    async def abandon(self, claim: Claim) -> None:
        """End the claim at once as it would end if this worker died."""
        await self._end("abandon", claim)

    async def _end(self, how: str, claim: Claim, *more: object) -> None:
        claim.over = True
        self._claims.discard(claim)
        # What may yet be written is tried: it is not refused at once.
        await self._postgres.execute(self._sql[how], claim.scope, claim.claim_id, *more, timeout_s=REQUEST_TIMEOUT_S)
        self._ring(claim.scope)

    # --- hearing and telling ------------------------------------------------------------------------

    def on_news(self, payload: str) -> None:
        """What `Postgres.listen` calls: somebody's claim came to its end, or some news may have been lost."""
        if payload == RELOAD:
            for scope in tuple(self._bells):
                self._ring(scope)
        else:
            self._ring(bytes.fromhex(payload))

    @contextmanager
    def _listening(self, scope: bytes) -> Iterator[asyncio.Event]:
        bell = asyncio.Event()
        self._bells.setdefault(scope, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[scope]
            bells.discard(bell)
            if not bells:
                del self._bells[scope]

    def _ring(self, scope: bytes) -> None:
        for bell in self._bells.get(scope, ()):
            bell.set()

    # --- in the background --------------------------------------------------------------------------

    async def _hold_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.options.lease_s / 3)
            held = tuple(self._claims)
            if not held:
                continue
            scopes, ids = [claim.scope for claim in held], [claim.claim_id for claim in held]
            try:
                await self._postgres.execute(self._sql["hold"], scopes, ids, self.options.lease_s)
            except GatewayError as error:
                _log.warning("claims on %d idempotency keys are not renewed: %s", len(held), error.message)

    async def _trim_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.options.trim_every_s)
            try:
                await self.trim()
            except GatewayError as error:
                _log.warning("kept answers are not trimmed: %s", error.message)

    async def trim(self) -> int:
        """Give up the oldest answers of the API keys that this worker has kept some for, where these are more than an
        API key may have; returns how many."""
        if not self._to_trim:
            return 0
        holders, self._to_trim = self._to_trim, set()
        try:
            rows = await self._postgres.fetch(self._sql["trim"], list(holders), self.options.max_kept_bytes)
        except GatewayError:
            self._to_trim |= holders
            raise
        for holder, count in Counter(row["holder"] for row in rows).items():
            _log.warning(
                "%d kept answers of the API key %s are given up: it has newer ones of idempotency.max_kept_mb_per_key",
                count,
                holder or "master",
            )
        return len(rows)

    async def prune(self) -> int:
        """Remove what has expired; returns how many."""
        return await prune(self._postgres, self._sql["prune"], _PRUNE_BATCH)


def _context(scope: bytes) -> str:
    return f"{_TABLE}:{scope.hex()}"


def _conflict(code: str, message: str, *, should_retry: bool | None = None) -> GatewayError:
    return GatewayError(code, message, param=HEADER, should_retry=should_retry)


def _unknown(why: str) -> GatewayError:
    message = f"{why} Whether it was carried out cannot be told; a new {HEADER} sends it again."
    return _conflict("idempotency_outcome_unknown", message, should_retry=False)
