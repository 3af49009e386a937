"""One line for every finished request, formatted by hand: this runs for each of tens of thousands a second."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import orjson

from gateway.metrics import Counter
from gateway.server.finished import Attempt, FinishedRequest
from gateway.server.line_sink import LineSink

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MAX_KEPT: Final = 2048
_NANO_PER_USD: Final = 1_000_000_000
_REPLAYED: Final = b',"replayed":true'
_NULL: Final = b"null"
_LINE: Final = (
    b'{"ts":"%b"%b,"request_id":"%b","client_request_id":%b,"attempts":%d%b,"stream":%b%b'
    b',"prompt_tokens":%d,"completion_tokens":%d,"cost_usd":%d.%09d'
    b',"duration_ms":%.3f,"upstream_ms":%.3f,"ttft_ms":%b%b'
)

# endpoint, model, provider, target, status, code
_Names = tuple[str, str | None, str | None, str | None, int, str | None]
# key id, client's address
_Caller = tuple[str | None, str | None]
_Key = TypeVar("_Key")


class RequestLog:
    """Writes finished requests to a sink: JSON lines, or readable ones for a terminal.

    `sample` (0 to 1) is the share of successful requests that are logged; failures (a status of 400 or
    more, or an error code, as with a stream that broke) always are. `redact` is applied to every text
    but `request_id`, which is of our own making.
    """

    def __init__(
        self,
        sink: LineSink,
        sampled_out: Counter,
        redact: Callable[[str], str],
        *,
        sample: float = 1.0,
        readable: bool = False,
    ) -> None:
        self._sink = sink
        self._sampled_out = sampled_out
        self._redact = redact
        self._sample = sample
        self._share = 0.0
        self._format = self._text if readable else self._json
        self._names: dict[_Names, bytes] = {}
        self._callers: dict[_Caller, bytes] = {}
        self._second = -1
        self._stamp = b""

    def set_sample(self, sample: float) -> None:
        """Change the share of successful requests that are logged (0 to 1)."""
        self._sample = sample

    def write(self, record: FinishedRequest) -> None:
        """Queue the line of `record`, or leave it out by sampling."""
        if self._sample < 1.0 and record.status < 400 and record.code is None:
            self._share += self._sample
            if self._share < 1.0:
                self._sampled_out.inc()
                return
            self._share -= 1.0
        self._sink.write(self._format(record))

    def _json(self, r: FinishedRequest) -> bytes:
        # Names repeat from request to request, so their part of the line is made once for each combination.
        names = (r.endpoint, r.model, r.provider, r.target, r.status, r.code)
        caller = (r.key_id, r.client_ip)
        usd = r.cost_nano_usd
        client_id, ttft, tried = r.client_request_id, r.ttft_ms, r.attempts_log
        return _LINE % (
            self._rfc3339(r.started_at + r.duration_ms / 1000),
            self._names.get(names) or self._name(names),
            r.request_id.encode(),
            _NULL if client_id is None else _quoted_id(client_id),
            r.attempts,
            self._story(tried) if tried else b"",
            b"true" if r.stream else b"false",
            _REPLAYED if r.replayed else b"",
            r.prompt_tokens,
            r.completion_tokens,
            usd // _NANO_PER_USD if usd >= _NANO_PER_USD else 0,
            usd % _NANO_PER_USD,
            r.duration_ms,
            r.upstream_ms,
            _NULL if ttft is None else b"%.3f" % ttft,
            self._callers.get(caller) or self._caller(caller),
        )

    def _text(self, r: FinishedRequest) -> bytes:
        parts = [
            self._rfc3339(r.started_at + r.duration_ms / 1000)[11:23].decode(),
            f"{r.status} {r.endpoint}",
            r.model or "-",
            f"-> {r.provider}" if r.provider else "-> -",
            f"{r.duration_ms:.1f} ms (upstream {r.upstream_ms:.1f})",
            f"{r.prompt_tokens}+{r.completion_tokens} tokens",
            f"${r.cost_nano_usd / _NANO_PER_USD:.6f}",
        ]
        if _worth_telling(r.attempts_log):
            parts.append("tried " + ", ".join(f"{a.provider} {a.outcome}" for a in r.attempts_log))
        if r.replayed:
            parts.append("replayed")
        if r.code is not None:
            parts.append(r.code)
        return _printable(self._redact("  ".join((*parts, r.request_id)))) + b"\n"

    def _story(self, attempts: Sequence[Attempt]) -> bytes:
        """The attempts, where there is more to tell than that the only one succeeded."""
        if not _worth_telling(attempts):
            return b""
        quote = self._quote
        told = [
            b'{"provider":%b,"target":%b,"outcome":%b,"ms":%.3f}'
            % (quote(each.provider), quote(each.target), quote(each.outcome), each.duration_ms)
            for each in attempts
        ]
        return b',"attempts_log":[%b]' % b",".join(told)

    def _name(self, names: _Names) -> bytes:
        endpoint, model, provider, target, status, code = names
        quote = self._quote
        level = b"error" if status >= 500 else b"info" if code is None and status < 400 else b"warning"
        part = (
            b',"level":"%b","msg":"request","status":%d,"code":%b,"endpoint":%b,"model":%b,"provider":%b,"target":%b'
            % (level, status, quote(code), quote(endpoint), quote(model), quote(provider), quote(target))
        )
        return _kept(self._names, names, part)

    def _caller(self, caller: _Caller) -> bytes:
        key_id, client_ip = caller
        part = b',"key_id":%b,"client_ip":%b}\n' % (self._quote(key_id), self._quote(client_ip))
        return _kept(self._callers, caller, part)

    def _quote(self, text: str | None) -> bytes:
        if text is None:
            return _NULL
        # A lone surrogate cannot be written as UTF-8.
        return orjson.dumps(self._redact(text).encode("utf-8", "replace").decode())

    def _rfc3339(self, at: float) -> bytes:
        second = int(at)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._stamp, int((at - second) * 1000))


def _worth_telling(attempts: Sequence[Attempt]) -> bool:
    return len(attempts) > 1 or bool(attempts and attempts[0].outcome != "ok")


def _quoted_id(text: str) -> bytes:
    return b'"%b"' % text.encode() if _PLAIN.fullmatch(text) else _NULL


def _kept(parts: dict[_Key, bytes], key: _Key, part: bytes) -> bytes:
    """`part`, kept under `key`; a model's or caller's name may be any client's invention, so not for ever."""
    if len(parts) >= _MAX_KEPT:
        parts.clear()
    parts[key] = part
    return part


def _printable(text: str) -> bytes:
    """`text` without control characters: a client's model name must not drive the operator's terminal."""
    return "".join(c if c.isprintable() else "?" for c in text).encode("utf-8", "replace")
