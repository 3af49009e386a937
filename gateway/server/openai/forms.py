"""Bodies on their way to a provider: JSON with a few values changed, and forms with the model's name changed.

A form whose model comes before its files goes straight through, and once; any other is spooled, and can be sent
again. Either way a form that is malformed ends in 400, wherever in it the fault stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.server.openai.spool import Spool
from gateway.wire.multipart import Form
from gateway.wire.openai_objects import is_ambiguous
from gateway.wire.splice import replace_top_level_model

_MODEL = "model"
# A body may take this many times its longest silence in all, and what its bytes take at a slow line's speed.
_TOTAL_FACTOR = 10
_SLOW_BYTES_PER_S = 16_384


class Incoming:
    """The client's body as it comes, watched for its size and for silence."""

    def __init__(self, request: web.BaseRequest, max_bytes: int, timeout_s: float) -> None:
        self._content = request.content
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._began = asyncio.get_running_loop().time()
        self.length = request.content_length
        self.size = 0
        if (self.length or 0) > max_bytes:
            raise self._too_large()

    async def read(self) -> bytes:
        """What has come, b"" at the end. Raises body_too_large, or request_timeout for a client that is too slow."""
        loop = asyncio.get_running_loop()
        allowed_s = _TOTAL_FACTOR * self._timeout_s + self.size / _SLOW_BYTES_PER_S
        try:
            async with asyncio.timeout_at(min(loop.time() + self._timeout_s, self._began + allowed_s)):
                data = await self._content.readany()
        except TimeoutError:
            raise GatewayError("request_timeout", "The request's body took too long to arrive.") from None
        except web.RequestPayloadError:
            raise GatewayError("invalid_http", "The request's body is not framed as HTTP wants it.") from None
        self.size += len(data)
        if self.size > self._max_bytes:
            raise self._too_large()
        return data

    def _too_large(self) -> GatewayError:
        return GatewayError(
            "body_too_large", f"The body is larger than {self._max_bytes} bytes (server.max_upload_mb)."
        )


class JsonBody:
    """A JSON object as the client wrote it, but for the model's name, `changes`, and the cap that a budget puts on the
    call's answer."""

    content_type = b"application/json"
    replayable = True

    def __init__(self, call: Call, changes: Mapping[str, Any]) -> None:
        self._call = call
        self._changes = changes
        self._rewrite = bool(changes) or is_ambiguous(call.body, call.document)

    def whole(self, model: str) -> bytes:
        """The body for a target's model. Raises invalid_json for one that nests too deeply."""
        body, document = self._call.body, self._call.document
        asked = document.get(_MODEL)
        renamed = asked is not None and model != "" and asked != model
        if not self._rewrite:
            return replace_top_level_model(body, model) if renamed else body
        outgoing = {**document, **self._changes}
        if renamed:
            outgoing[_MODEL] = model
        try:
            return orjson.dumps(outgoing)
        except orjson.JSONEncodeError:
            raise GatewayError("invalid_json", "The body nests too deeply.") from None

    def length(self, model: str) -> int:
        """Its length."""
        return len(self.whole(model))

    async def pieces(self, model: str) -> AsyncIterator[bytes]:
        """It."""
        yield self.whole(model)


class FormBody:
    """A form: what was read of it lies in `spool`, what was not is still to come from the client.

    `model` is the one it names, None where it names none (yet, if it is `open_ended`).
    """

    def __init__(self, content_type: bytes, form: Form, spool: Spool, incoming: Incoming, *, complete: bool) -> None:
        self.content_type = content_type
        self._form = form
        self._spool = spool
        self._incoming = incoming
        self._complete = complete
        self._begun = False

    @property
    def replayable(self) -> bool:
        """Is all of it here, or has none of the rest been asked for?"""
        return self._complete or not self._begun

    @property
    def model(self) -> str | None:
        """The model that it names."""
        return self.value(_MODEL)

    def value(self, name: str) -> str | None:
        """The value of one of its watched fields."""
        field = self._form.fields.get(name)
        return None if field is None else field.value

    def whole(self, model: str) -> None:
        """It is not held whole."""
        return

    def length(self, model: str) -> int | None:
        """Its bytes with the model's name in place; None for a chunked body that is still coming."""
        total = self._spool.size if self._complete else self._incoming.length
        field = self._form.fields.get(_MODEL)
        if total is None or field is None or not model:
            return total
        return total - (field.end - field.start) + len(model.encode())

    async def pieces(self, model: str) -> AsyncIterator[bytes]:
        """All of it. Raises what `Incoming.read` raises, and invalid_request for a form that is malformed."""
        field = self._form.fields.get(_MODEL)
        if field is not None and model:
            async for piece in self._spool.read(0, field.start):
                yield piece
            yield model.encode()
            async for piece in self._spool.read(field.end, self._spool.size):
                yield piece
        else:
            async for piece in self._spool.read(0, self._spool.size):
                yield piece
        if self._complete:
            return
        self._begun = True
        while data := await self._incoming.read():
            self._form.feed(data)
            yield data
        self._form.finish()


async def read_form(
    content_type: bytes, form: Form, spool: Spool, incoming: Incoming, *, needs_model: bool, small_bytes: int
) -> FormBody:
    """Read as much of a form as is needed to know where it goes; all of it where it is small.

    Raises GatewayError for a body that is malformed, too large or too slow.
    """
    small = incoming.length is not None and incoming.length <= small_bytes
    if not (needs_model or small):
        return FormBody(content_type, form, spool, incoming, complete=False)
    while data := await incoming.read():
        form.feed(data)
        await spool.write(data)
        field = form.fields.get(_MODEL)
        ahead = field is not None and (form.first_file_at < 0 or field.start < form.first_file_at)
        if needs_model and ahead and not small:
            return FormBody(content_type, form, spool, incoming, complete=False)
    form.finish()
    return FormBody(content_type, form, spool, incoming, complete=True)
