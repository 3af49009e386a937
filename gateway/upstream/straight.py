"""Client and target both speak OpenAI's dialect: the bytes pass."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.upstream.job import Headers, Job, Outcome
from gateway.upstream.target import Target
from gateway.wire.openai import encode_request, wants_usage
from gateway.wire.openai_answer import StreamTap, estimate_answer_tokens, read_answer, read_error


class Straight:
    """One object serves every request: it remembers nothing."""

    __slots__ = ()

    dropped: Sequence[str] = ()

    async def prepare(self, job: Job) -> None:
        """Nothing is fetched: what OpenAI's dialect names by URL its speaker fetches."""

    def encode(self, job: Job, target: Target) -> bytes:
        """The client's own bytes, but for what has to change."""
        return encode_request(job.body, job.document, target.model, target.variations, flat=job.flat)

    def path(self, job: Job, target: Target) -> str:
        """The endpoint's, at the target."""
        return target.path_of(job.endpoint)

    def head(self, job: Job, target: Target, lines: bytes, length: int) -> bytes:
        """The target's own, made ahead of the request."""
        return target.head(job.endpoint, lines, length)

    def read(self, job: Job, outcome: Outcome, answer: bytes, headers: Headers) -> bytes:
        """The upstream's bytes, with the model's name as the client knows it."""
        rename_to = job.asked_model if job.asked_model != outcome.target.model else None
        data, outcome.usage = read_answer(answer, rename_to)
        if outcome.usage is None:
            outcome.streamed_tokens = estimate_answer_tokens(data)
        return data

    def tap(self, job: Job, target: Target) -> StreamTap:
        """Looks, renames, withholds."""
        rename_to = job.asked_model if job.asked_model != target.model else None
        return StreamTap(rename_to=rename_to, withhold_usage=not wants_usage(job.document))

    def is_stream(self, content_type: bytes) -> bool:
        """Server-sent events."""
        return content_type.startswith(b"text/event-stream")

    def read_error(self, target: Target, status: int, answer: bytes, retry_after_s: float | None) -> GatewayError:
        """As OpenAI and its like say it."""
        return read_error(target.provider, status, answer, retry_after_s=retry_after_s)


STRAIGHT = Straight()
