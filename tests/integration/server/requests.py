"""Requests as bytes: plain ones for the hot lane, and the same for aiohttp."""

from __future__ import annotations

from typing import Any

import orjson

from tests.integration.server.serving import KEY

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
# Ways to say the same that are not plain, so that aiohttp serves them.
SLOW_WAYS = ("chunked", "expect", "query", "white_space")


def post(
    body: object = HELLO,
    path: str = CHAT,
    *,
    key: str | None = KEY,
    headers: tuple[tuple[str, str], ...] = (),
    way: str = "plain",
) -> bytes:
    """One request; `way` is "plain" or one of SLOW_WAYS."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [("host", "gateway")]
    if not any(name.lower() == "content-type" for name, _ in headers):
        lines.append(("content-type", "application/json"))
    if key is not None:
        lines.append(("authorization", f"Bearer {key}"))
    lines.extend(headers)
    if way == "query":
        path += "?a=b"
    elif way == "expect":
        lines.append(("expect", "100-continue"))
    elif way == "white_space":
        lines.append(("x-odd", "value "))
    if way == "chunked":
        lines.append(("transfer-encoding", "chunked"))
        cut = len(raw) // 2
        raw = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (raw[:cut], raw[cut:]) if part) + b"0\r\n\r\n"
    else:
        lines.append(("content-length", str(len(raw))))
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    return head.encode("latin-1") + raw


def get(path: str, *, key: str | None = KEY, method: str = "GET", version: str = "1.1", extra: str = "") -> bytes:
    """A request without a body."""
    auth = "" if key is None else f"authorization: Bearer {key}\r\n"
    return f"{method} {path} HTTP/{version}\r\nhost: gateway\r\n{auth}{extra}\r\n".encode("latin-1")
