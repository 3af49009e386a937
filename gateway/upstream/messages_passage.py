"""Client and target both speak Anthropic's Messages API: the bytes pass."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.errors import GatewayError
from gateway.upstream.job import Headers, Job, Outcome
from gateway.upstream.target import Target
from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from gateway.wire.anthropic_tap import MessagesTap, read_messages_answer
from gateway.wire.duplicates import is_ambiguous
from gateway.wire.splice import replace_only_model
from gateway.wire.token_estimate import BYTES_PER_TOKEN

_PATH = "/messages"
# The client's own version and features go along; a credential never does.
_PASSED = (b"anthropic-version", b"anthropic-beta")


class MessagesPassage:
    """One object serves every request: it remembers nothing."""

    __slots__ = ()

    dropped: Sequence[str] = ()

    async def prepare(self, job: Job) -> None:
        """Nothing is fetched: Anthropic fetches what is named by URL."""

    def encode(self, job: Job, target: Target) -> bytes:
        """The client's own bytes, but for the model's name and what another provider left in the conversation."""
        document = job.document
        kept = without_foreign_marks(document)
        if kept is document and not is_ambiguous(job.body, document):
            if document["model"] == target.model:
                return job.body
            spliced = replace_only_model(job.body, target.model)
            if spliced is not None:
                return spliced
        try:
            return orjson.dumps({**kept, "model": target.model})
        except TypeError:
            raise GatewayError("invalid_json", "The body holds text or numbers that cannot be passed on.") from None

    def path(self, job: Job, target: Target) -> str:
        """Where messages go."""
        return target.account.base_path + _PATH

    def head(self, job: Job, target: Target, lines: bytes, length: int) -> bytes:
        """The request's head, with the client's version of the API."""
        headers = job.headers
        own = tuple((name, value) for name in _PASSED if (value := headers.get(name)))
        return target.head_for(self.path(job, target), own, lines, length)

    def read(self, job: Job, outcome: Outcome, answer: bytes, headers: Headers) -> bytes:
        """The upstream's bytes, with the model's name as the client knows it."""
        data, outcome.usage = read_messages_answer(answer, _alias(job, outcome.target))
        if outcome.usage is None:
            outcome.streamed_tokens = len(answer) // BYTES_PER_TOKEN
        return data

    def tap(self, job: Job, target: Target) -> MessagesTap:
        """Looks and renames."""
        return MessagesTap(rename_to=_alias(job, target))

    def is_stream(self, content_type: bytes) -> bool:
        """Server-sent events."""
        return content_type.startswith(b"text/event-stream")

    def read_error(self, target: Target, status: int, answer: bytes, retry_after_s: float | None) -> GatewayError:
        """As Anthropic says it."""
        dialect = target.account.dialect
        assert dialect is not None
        return dialect.read_error(target.provider, status, answer, retry_after_s=retry_after_s)


def _alias(job: Job, target: Target) -> str | None:
    return job.asked_model if job.asked_model != target.model else None


MESSAGES_PASSAGE = MessagesPassage()
