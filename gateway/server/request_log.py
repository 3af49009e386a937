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
_REPLAYED: Final = ',"replayed":true'

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
        self._names: dict[_Names, str] = {}
        self._callers: dict[_Caller, str] = {}
        self._second = -1
        self._stamp = ""

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
        self._sink.write(self._format(record).encode())

    def _json(self, r: FinishedRequest) -> str:
        # Names repeat from request to request, so their part of the line is made once for each combination.
        names = (r.endpoint, r.model, r.provider, r.target, r.status, r.code)
        caller = (r.key_id, r.client_ip)
        usd = r.cost_nano_usd
        client_id, ttft, tried = r.client_request_id, r.ttft_ms, r.attempts_log
        return (
            f'{{"ts":"{self._rfc3339(r.started_at + r.duration_ms / 1000)}"'
            f"{self._names.get(names) or self._name(names)}"
            f',"request_id":"{r.request_id}"'
            f',"client_request_id":{"null" if client_id is None else _quoted_id(client_id)}'
            f',"attempts":{r.attempts}{self._story(tried) if tried else ""},"stream":{"true" if r.stream else "false"}'
            f"{_REPLAYED if r.replayed else ''}"
            f',"prompt_tokens":{r.prompt_tokens},"completion_tokens":{r.completion_tokens}'
            f',"cost_usd":{usd // _NANO_PER_USD if usd >= _NANO_PER_USD else 0}.{usd % _NANO_PER_USD:09d}'
            f',"duration_ms":{r.duration_ms:.3f},"upstream_ms":{r.upstream_ms:.3f}'
            f',"ttft_ms":{"null" if ttft is None else f"{ttft:.3f}"}{self._callers.get(caller) or self._caller(caller)}'
        )

    def _text(self, r: FinishedRequest) -> str:
        parts = [
            self._rfc3339(r.started_at + r.duration_ms / 1000)[11:23],
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
        return _printable(self._redact("  ".join((*parts, r.request_id)))) + "\n"

    def _story(self, attempts: Sequence[Attempt]) -> str:
        """The attempts, where there is more to tell than that the only one succeeded."""
        if not _worth_telling(attempts):
            return ""
        quote = self._quote
        return ',"attempts_log":' + ",".join(
            f'{{"provider":{quote(a.provider)},"target":{quote(a.target)},"outcome":{quote(a.outcome)}'
            f',"ms":{a.duration_ms:.3f}}}'
            for a in attempts
        ).join("[]")

    def _name(self, names: _Names) -> str:
        endpoint, model, provider, target, status, code = names
        quote = self._quote
        level = "error" if status >= 500 else "info" if code is None and status < 400 else "warning"
        part = (
            f',"level":"{level}","msg":"request","status":{status},"code":{quote(code)},"endpoint":{quote(endpoint)}'
            f',"model":{quote(model)},"provider":{quote(provider)},"target":{quote(target)}'
        )
        return _kept(self._names, names, part)

    def _caller(self, caller: _Caller) -> str:
        key_id, client_ip = caller
        return _kept(self._callers, caller, f',"key_id":{self._quote(key_id)},"client_ip":{self._quote(client_ip)}}}\n')

    def _quote(self, text: str | None) -> str:
        if text is None:
            return "null"
        # A lone surrogate cannot be written as UTF-8.
        return orjson.dumps(self._redact(text).encode("utf-8", "replace").decode()).decode()

    def _rfc3339(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((at - second) * 1000):03d}Z"


def _worth_telling(attempts: Sequence[Attempt]) -> bool:
    return len(attempts) > 1 or bool(attempts and attempts[0].outcome != "ok")


def _quoted_id(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else "null"


def _kept(parts: dict[_Key, str], key: _Key, part: str) -> str:
    """`part`, kept under `key`; a model's or caller's name may be any client's invention, so not for ever."""
    if len(parts) >= _MAX_KEPT:
        parts.clear()
    parts[key] = part
    return part


def _printable(text: str) -> str:
    """`text` without control characters: a client's model name must not drive the operator's terminal."""
    return "".join(c if c.isprintable() else "?" for c in text).encode("utf-8", "replace").decode()
