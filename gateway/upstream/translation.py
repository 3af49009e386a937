"""Client and target speak different dialects: the request goes out, and the answer comes back, by way of the canonical
form."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping

from gateway.errors import GatewayError
from gateway.upstream.job import Headers, Job, Outcome
from gateway.upstream.target import Target
from gateway.wire.dialect import Ask, Dialect, Document, Encoded, StreamDecoder
from gateway.wire.inbound import Inbound, StreamEncoder
from gateway.wire.remote_parts import inlined, remote_urls
from gateway.wire.token_estimate import BYTES_PER_TOKEN, characters
from gateway.wire.usage import Usage

_SECONDS = 1_000_000
_MOST_BYTES_PER_CHARACTER = 4  # of UTF-8


# Media type and bytes of an image or a file by its URL. Raises GatewayError.
Fetch = Callable[[str], Awaitable[tuple[str, bytes]]]


class Translation:
    """The passage of one attempt."""

    __slots__ = ("_ask", "_dialect", "_encoded", "_fetch_file", "_inlined", "_keeps_error_bodies")

    def __init__(self, inbound: Inbound, dialect: Dialect, fetch: Fetch) -> None:
        # A provider's own error object is of no use to a client that speaks otherwise.
        self._keeps_error_bodies = inbound.name == dialect.name
        self._dialect = dialect
        self._fetch_file = fetch
        self._inlined: Document | None = None
        self._ask: Ask
        self._encoded: Encoded

    async def prepare(self, job: Job) -> None:
        """Fetch the images and files that are named by URL and that the provider does not fetch itself."""
        dialect = self._dialect
        if job.endpoint.operation != "chat" or (dialect.image_urls and dialect.file_urls):
            return
        document = job.canonical()
        urls = remote_urls(document, images=not dialect.image_urls, files=not dialect.file_urls)
        if urls:
            fetched: Mapping[str, str] = dict(await asyncio.gather(*map(self._fetch, urls)))
            self._inlined = inlined(document, fetched)

    async def _fetch(self, url: str) -> tuple[str, str]:
        media_type, data = await self._fetch_file(url)
        return url, f"data:{media_type};base64,{b64encode(data).decode()}"

    def encode(self, job: Job, target: Target) -> bytes:
        """The request in the target's dialect. Raises GatewayError naming the field."""
        operation = job.endpoint.operation
        if operation not in self._dialect.operations:
            raise GatewayError(
                "unsupported_operation",
                f"The model '{job.asked_model}' is served by '{target.provider}', which has no {operation} endpoint.",
                param="model",
            )
        self._ask = Ask(
            operation,
            self._inlined or job.canonical(),
            target.model,
            job.asked_model,
            f"chatcmpl-{job.request_id}",
            job.started_us // _SECONDS,
            job.stream,
            target.options,
            target.policy,
        )
        self._encoded = self._dialect.encode(self._ask)
        return self._encoded.body

    @property
    def dropped(self) -> tuple[str, ...]:
        """The request's fields that were left out."""
        return tuple(self._encoded.dropped)

    def path(self, job: Job, target: Target) -> str:
        """Where the request goes, behind the host."""
        return target.path(job.endpoint.operation) or target.account.base_path + self._encoded.path

    def head(self, job: Job, target: Target, lines: bytes, length: int) -> bytes:
        """The request's head, with what the dialect adds to it."""
        return target.head_for(self.path(job, target), self._encoded.headers, lines, length)

    def read(self, job: Job, outcome: Outcome, answer: bytes, headers: Headers) -> bytes:
        """The answer as the client reads it."""
        self._ask.answer_headers = headers
        document, outcome.usage = self._dialect.decode(self._ask, answer)
        if outcome.usage is None:
            outcome.streamed_tokens = characters(document.get("choices")) // BYTES_PER_TOKEN
        return job.speech.render(document, outcome.usage, job.document)

    def tap(self, job: Job, target: Target) -> TranslatingTap:
        """Decodes and encodes."""
        return TranslatingTap(self._dialect.decoder(self._ask), job.speech.encoder(job.document))

    def is_stream(self, content_type: bytes) -> bool:
        """Whatever kind of stream the provider has; only a plain JSON answer may be one or not."""
        return not content_type.startswith((b"text/html", b"text/plain"))

    def read_error(self, target: Target, status: int, answer: bytes, retry_after_s: float | None) -> GatewayError:
        """What the provider's error means."""
        error = self._dialect.read_error(target.provider, status, answer, retry_after_s=retry_after_s)
        if not self._keeps_error_bodies:
            error.raw = None
        return error


class TranslatingTap:
    """A provider's stream read, and the client's made of it."""

    __slots__ = ("_characters", "_decoder", "_encoder", "_ending")

    def __init__(self, decoder: StreamDecoder, encoder: StreamEncoder) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._characters = 0
        self._ending: bytes | None = None

    @property
    def usage(self) -> Usage | None:
        """What was reported so far."""
        return self._decoder.usage

    @property
    def error(self) -> GatewayError | None:
        """Why the stream cannot go on."""
        return self._decoder.error

    @property
    def done(self) -> bool:
        """Has the provider's own end come?"""
        return self._decoder.done

    @property
    def ending(self) -> bytes:
        """The events that end the client's stream."""
        if self._ending is None:
            self._ending = self._encoder.finish(self._decoder.usage)
        return self._ending

    def feed(self, data: bytes) -> bytes:
        """The client's events that this read makes."""
        return self._written(self._decoder.feed(data))

    def finish(self) -> bytes:
        """The same for what only the body's end makes sure of."""
        return self._written(self._decoder.finish())

    def _written(self, chunks: list[Document]) -> bytes:
        if not chunks:
            return b""
        encode = self._encoder.encode
        written = []
        for chunk in chunks:
            self._characters += characters(chunk["choices"])
            written.append(encode(chunk))
        return b"".join(written)

    def broken(self, error: GatewayError, request_id: str) -> bytes:
        """The events that end the client's stream where it cannot be finished."""
        return self._encoder.fail(error, request_id)

    def estimate_completion_tokens(self) -> int:
        """Four characters are a token."""
        return self._characters // BYTES_PER_TOKEN

    def most_completion_tokens(self) -> int:
        """A character has four bytes at most."""
        return self._characters * _MOST_BYTES_PER_CHARACTER
