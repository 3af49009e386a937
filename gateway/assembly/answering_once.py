"""Whatever answers requests with an `Idempotency-Key` once."""

from __future__ import annotations

from typing import Self

from gateway.metrics import Metrics
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.answer_once import AnswerOnce
from gateway.services.idempotency.service import ANSWERS_SUBKEY, BODIES_SUBKEY, Idempotency, IdempotencyOptions
from gateway.services.keys.secret import Secrets
from gateway.settings import Settings
from gateway.store.crypt import Cipher
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

_HOUR_S = 3600.0
_KB = 1024
_MB = 1_048_576


class AnsweringOnce:
    """The service and its stage, which is in the pipeline while `idempotency.enabled`."""

    def __init__(self, idempotency: Idempotency, metrics: Metrics) -> None:
        self._idempotency = idempotency
        self._stage = AnswerOnce(idempotency, metrics)

    @classmethod
    async def open(cls, postgres: Postgres, secrets: Secrets, tasks: Tasks, metrics: Metrics) -> Self:
        """Both of them, and their work in the background. Raises GatewayError store_unavailable."""
        idempotency = Idempotency(
            postgres,
            Cipher([secret.subkey(ANSWERS_SUBKEY) for secret in secrets.all]),
            [secret.subkey(BODIES_SUBKEY) for secret in secrets.all],
            IdempotencyOptions(),
        )
        await idempotency.open(tasks)
        return cls(idempotency, metrics)

    def stages(self, settings: Settings) -> dict[str, Stage]:
        """The stage by its name, if there is to be one; `settings` are in force from here on."""
        wanted = settings.idempotency
        self._idempotency.options = IdempotencyOptions(
            ttl_s=wanted.ttl_hours * _HOUR_S,
            max_answer_bytes=wanted.max_answer_kb * _KB,
            max_kept_bytes=int(wanted.max_kept_mb_per_key * _MB),
        )
        return {AnswerOnce.name: self._stage} if wanted.enabled else {}
