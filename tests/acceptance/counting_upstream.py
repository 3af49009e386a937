"""An upstream as a process that writes down every chat request before it answers: `python -m … PORT FILE`.

What it wrote survives its kill -9. Answers take a few tens of milliseconds, so that a kill meets some half-way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial

_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
_PAUSE_S = 0.02


async def _serve(log: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"content-length:"))
            document = json.loads(await reader.readexactly(length))
            os.write(log, document["messages"][0]["content"].encode() + b"\n")
            await (_stream(writer) if document.get("stream") else _whole(writer))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _whole(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3 * _PAUSE_S)
    body = json.dumps({"model": "m", "choices": [{"message": {"content": "one two three"}}], "usage": _USAGE}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    events: list[object] = [{"model": "m", "choices": [{"delta": {"content": text}}]} for text in ("one", " two", " 3")]
    events.append({"model": "m", "choices": [], "usage": _USAGE})
    for event in [*map(json.dumps, events), "[DONE]"]:
        data = f"data: {event}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
        await asyncio.sleep(_PAUSE_S)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _main(port: int, file: str) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = await asyncio.start_server(partial(_serve, log), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
