"""A client that writes any bytes and reads answers one by one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import Any

import orjson

READ_S = 20.0


@dataclass
class Answer:
    """One answer; `headers` have names in lower case, `body` is decoded from chunks."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunked: bool = False

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code, once its shape is seen to be OpenAI's."""
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        assert error["message"]
        assert self.headers["content-type"].startswith("application/json")
        own = self.headers.get("x-gateway-request-id", self.headers["x-request-id"])
        assert error["request_id"] == own
        code: str = error["code"]
        return code

    @property
    def param(self) -> str | None:
        found: str | None = self.json["error"]["param"]
        return found


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Client:
        return cls(*await asyncio.open_connection(host, port, ssl=tls, limit=1 << 20))

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def read_answer(self, *, head_only: bool = False) -> Answer:
        """The next answer. Raises IncompleteReadError where the connection ends before it."""
        async with asyncio.timeout(READ_S):
            while True:
                answer = await self._head()
                if answer.status >= 200:
                    break
            if not head_only:
                await self._body(answer)
            return answer

    async def _head(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value
        return Answer(int(status), headers, b"")

    async def _body(self, answer: Answer) -> None:
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.chunked = True
            while (size := int(await self.reader.readuntil(b"\r\n"), 16)) > 0:
                answer.body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        elif "content-length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        else:
            answer.body = await self.reader.read(-1)

    async def ends(self) -> bool:
        """Does the server end the connection, with nothing more said?"""
        async with asyncio.timeout(READ_S):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(1) == b""
        return True

    def abort(self) -> None:
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(5):
                await self.writer.wait_closed()
