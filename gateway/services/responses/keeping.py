"""Writing responses to the table beside the requests that made them, and clearing the table of old ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.services.responses.service import Document, Owner, Responses
from gateway.store.pruning import prune_for_ever
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.responses")

PRUNE_EVERY_S = 3600.0


class Keeping:
    """What this worker is writing: begun without waiting, and waited for by whoever asks for it before it is there."""

    def __init__(self, responses: Responses, tasks: Tasks) -> None:
        self._responses = responses
        self._tasks = tasks
        self._writing: dict[str, asyncio.Task[None]] = {}

    def begin(
        self,
        response_id: str,
        owner: Owner,
        input_items: Sequence[Document],
        response: Document,
        previous_id: str | None = None,
    ) -> asyncio.Task[None]:
        """Store a response (see `Responses.store`) in the background. A failure is logged: the answer is on its way."""
        work = self._store(response_id, owner, input_items, response, previous_id)
        task = self._tasks.spawn(work, name="keep a response")
        self._writing[response_id] = task
        task.add_done_callback(lambda _: self._writing.pop(response_id, None))
        return task

    async def settled(self, response_id: str) -> None:
        """Return once nothing is being written under this id (any more)."""
        task = self._writing.get(response_id)
        if task is not None:
            await asyncio.wait((task,))

    async def _store(
        self,
        response_id: str,
        owner: Owner,
        input_items: Sequence[Document],
        response: Document,
        previous_id: str | None,
    ) -> None:
        try:
            await self._responses.store(response_id, owner, input_items, response, previous_id)
        except GatewayError as error:
            _log.warning("the response %s is not kept: %s", response_id, error.message)

    async def prune_for_ever(self, every_s: float = PRUNE_EVERY_S) -> None:
        """Remove what is older than the retention, now and every `every_s` seconds."""
        await prune_for_ever(self._responses.prune, "responses", every_s)
