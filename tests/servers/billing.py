"""An upstream that bills: `python -m tests.servers.billing PORT FILE PAUSE_MS`.

It speaks OpenAI's chat API, makes answers of random length up to the cap that it was given, fails one call in twenty,
and writes down what each call used: a line `request id, prompt tokens, completion tokens, how` in FILE, before the last
byte of the answer, which takes PAUSE_MS, a stream's each piece. `how` is `whole`; `cut` for a stream whose client went
away, with what was served until then; or `failed`, which is not billed. A prompt has a token for four characters.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from functools import partial
from typing import Any

_FAILURES = 0.05
_MOST_TOKENS = 200
_PIECES = 8


class Book:
    """What was used, line by line. `pause_s` is how long an answer takes, or a stream's piece."""

    def __init__(self, file: str, pause_s: float) -> None:
        self.pause_s = pause_s
        self._log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, request: str, prompt: int, completion: int, how: str) -> None:
        """One call is over."""
        os.write(self._log, f"{request} {prompt} {completion} {how}\n".encode())


async def _serve(book: Book, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await _answer(book, json.loads(await reader.readexactly(length)), reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _answer(
    book: Book, document: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    content = document["messages"][0]["content"]
    request = content.split(" ", 1)[0]
    prompt = max(1, len(content) // 4)
    if random.random() < _FAILURES:
        book.write(request, 0, 0, "failed")
        writer.write(b"HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        return
    cap = document.get("max_completion_tokens") or document["max_tokens"]
    completion = random.randint(1, min(cap, _MOST_TOKENS))
    if document.get("stream"):
        await _stream(book, request, prompt, completion, reader, writer)
        return
    await asyncio.sleep(book.pause_s)
    book.write(request, prompt, completion, "whole")
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "m",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "x " * completion}, "finish_reason": "stop"}
            ],
            "usage": _usage(prompt, completion),
        }
    ).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    await writer.drain()


async def _stream(
    book: Book, request: str, prompt: int, completion: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    served = 0
    for piece in range(_PIECES):
        tokens = completion * (piece + 1) // _PIECES - served
        if reader.at_eof() or writer.is_closing():
            book.write(request, prompt, served, "cut")
            raise ConnectionError
        served += tokens
        _event(writer, {"model": "m", "choices": [{"index": 0, "delta": {"content": "x " * tokens}}]})
        await asyncio.sleep(book.pause_s)
    if reader.at_eof() or writer.is_closing():
        book.write(request, prompt, served, "cut")
        raise ConnectionError
    book.write(request, prompt, completion, "whole")
    _event(writer, {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    _event(writer, {"model": "m", "choices": [], "usage": _usage(prompt, completion)})
    data = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
    await writer.drain()


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _event(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    data = f"data: {json.dumps(event)}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def _main(port: int, file: str, pause_s: float) -> None:
    server = await asyncio.start_server(partial(_serve, Book(file, pause_s)), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000))
