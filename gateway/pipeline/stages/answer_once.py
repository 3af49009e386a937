"""Was this asked before, and answered?"""

from __future__ import annotations

import re
from typing import ClassVar

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.first_call import REPLAY, FirstCall
from gateway.pipeline.stage import Stage, Turn
from gateway.services.idempotency.service import HEADER, Claim, Idempotency

_NAME = HEADER.lower().encode()
_KEY = re.compile(rb"[ -~]{1,255}")
_REPLAYED = (b"x-gateway-idempotent-replay", b"true")


class AnswerOnce(Stage):
    """Give a request with an `Idempotency-Key` the answer that the first one with that key got."""

    name: ClassVar[str] = "answer_once"
    switchable: ClassVar[bool] = False

    def __init__(self, idempotency: Idempotency, metrics: Metrics) -> None:
        self._idempotency = idempotency
        self._count = metrics.idempotent_requests.child

    def on_request(self, call: Call) -> Turn:
        key = call.headers.get(_NAME)
        return None if key is None else self._join(call, key)

    async def _join(self, call: Call, key: bytes) -> Reply | None:
        if not _KEY.fullmatch(key):
            raise GatewayError(
                "idempotency_key_invalid", f"{HEADER} must be 1 to 255 printable ASCII characters.", param=HEADER
            )
        assert call.key is not None
        asked = self._idempotency.read(call.key.id, call.endpoint.path, key, call.body)
        patience_s = max((target.limits.total_s for target in call.targets), default=0.0)
        try:
            found = await self._idempotency.join(asked, call.request_id, patience_s)
        except GatewayError as error:
            self._count(error.code.removeprefix("idempotency_")).inc()
            raise
        if isinstance(found, Claim):
            call.once = FirstCall(self._idempotency, found)
            self._count("first").inc()
            return None
        call.once = REPLAY
        if not call.stream:
            call.cost_nano_usd = 0
        self._count("replayed").inc()
        return Reply(found.status, found.body, [*found.headers, _REPLAYED])
