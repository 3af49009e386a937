"""Writing a request that is passed on: its head, and a body at the pace at which the upstream takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.pulled import PulledAnswer
from gateway.upstream.relayed import Outgoing
from gateway.upstream.target import Target


async def stop_upload(upload: asyncio.Task[None] | None) -> None:
    """End a task of `upload_body` that has become of no use; None is none."""
    if upload is not None and not upload.done():
        upload.cancel()
        await asyncio.wait((upload,))


async def upload_body(
    pieces: AsyncIterator[bytes], connection: Connection, answer: PulledAnswer, *, chunked: bool
) -> None:
    """Write the body as the upstream takes it; a body that fails is told to the answer's reader."""
    try:
        async for piece in pieces:
            if answer.ended:
                return
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await connection.drain()
        if answer.ended:
            return
        if chunked:
            connection.write(b"0\r\n\r\n")
        connection.finish()
    except GatewayError as error:
        answer.fail(error)
    except ConnectionError:
        answer.fail(GatewayError("client_gone", "The client closed the connection."))
    except Exception:
        answer.fail(GatewayError("internal_error", "The gateway failed to pass the body on."))
        raise


def outgoing_head(target: Target, outgoing: Outgoing, forwarded: bytes, whole: bytes | None) -> bytes:
    """The request's head; `forwarded` are header lines of the client's."""
    body = outgoing.body
    if body is None:
        begun = target.account.begin_head(outgoing.method, outgoing.path)
        framing = b"" if outgoing.method == "GET" else b"content-length: 0\r\n"
        return b"%b%b%b\r\n" % (begun, forwarded, framing)
    begun = target.account.begin_head(outgoing.method, outgoing.path, (b"content-type", body.content_type))
    length = body.length(target.model) if whole is None else len(whole)
    framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    return b"%b%b%b\r\n" % (begun, forwarded, framing)
