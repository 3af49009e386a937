"""One request on its way through the pipeline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError
from gateway.pipeline.governed import Governed
from gateway.pipeline.once import Once
from gateway.pipeline.purse import Pot, Purse
from gateway.services.keys.key import Key
from gateway.upstream.job import Headers, Outcome, Reply
from gateway.upstream.target import Target
from gateway.wire.dialect import Document
from gateway.wire.endpoint import Endpoint
from gateway.wire.inbound import Inbound
from gateway.wire.openai_inbound import OPENAI

if TYPE_CHECKING:
    from gateway.pipeline.reservation import Reservation
    from gateway.services.ledger.entry import Entry

__all__ = ["Call", "Reply"]

_FORWARDED = (b"openai-beta", b"traceparent", b"tracestate")
_SANE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MAX_CLIENT_ID = 128
_RELEASED: Document = {}
_random_bits: Final = random.getrandbits

_FIELDS: Final = (
    "asked_model",
    "begin_span",
    "body",
    "broken",
    "canonical_document",
    "chunk_watcher",
    "client_ip",
    "client_request_id",
    "context_fallbacks",
    "cost_nano_usd",
    "document",
    "duration_s",
    "endpoint",
    "entry",
    "error",
    "first_token_at",
    "flat",
    "forwarded",
    "governed",
    "headers",
    "key",
    "model",
    "on_first_token",
    "once",
    "outcomes",
    "policy_fallbacks",
    "pots",
    "purse",
    "received_at",
    "request_id",
    "reserved",
    "speech",
    "started_us",
    "status",
    "stream",
    "targets",
    "trace",
    "uncapped",
    "waited",
)


class Call:
    """A request and what the stages have found out about it; free of any server's types.

    Set by the server: everything up to `client_ip`. `received_at` is on time.perf_counter (seconds), `started_us` the
    wall clock in microseconds since 1970; `headers` have names in lower case. `forwarded` are the header lines that go
    to the upstream. Set by the stages: `key`, then what the body says (`document`, `asked_model`, `stream`, and whether
    it is `flat`: wire/flat.py), `model` (its own name where `asked_model` is an alias), `targets` and the fallbacks,
    `once` where it is to be answered once, `governed` where limits or budgets apply, the `pots` that pay for it,
    `cost_nano_usd`, `reserved`, what is set aside for the attempt under way, and `entry`, the ledger's row of the one
    that ended last. `uncapped` is the body, the document and the canonical one as they were before a budget had the
    answer's length capped. Set by the pipeline: the `purse` that knows of budgets, where they are kept, and `waited`,
    whether anything was waited for before the first try (None: it is not the pipeline's). Set by dispatch: `outcomes`
    (one an attempt), `broken` (what ended a stream that had begun), `first_token_at`. Set by the recorder:
    `duration_s`, whom to tell of the first token, and `trace` and `begin_span` where the request is traced.
    """

    __slots__ = _FIELDS

    def __init__(self, endpoint: Endpoint, headers: Mapping[bytes, bytes], body: bytes, client_ip: str) -> None:
        self.received_at = time.perf_counter()
        now_us = time.time_ns() // 1000
        self.started_us = now_us
        self.request_id = new_request_id(now_us // 1000)
        self.endpoint = endpoint
        self.headers = headers
        self.body = body
        self.document: Document = {}
        self.canonical_document: Document | None = None
        self.uncapped: tuple[bytes, Document, Document | None] | None = None
        self.speech: Inbound = endpoint.inbound or OPENAI
        self.client_ip = client_ip
        self.client_request_id = sane_request_id(headers.get(b"x-request-id"))
        self.asked_model = ""
        self.model = ""
        self.stream = self.flat = False
        self.forwarded = _forwarded(headers)
        self.key: Key | None = None
        self.targets: Sequence[Target] = ()
        self.context_fallbacks: Sequence[Target] = ()
        self.policy_fallbacks: Sequence[Target] = ()
        self.outcomes: list[Outcome] = []
        self.broken: GatewayError | None = None
        self.error: GatewayError | None = None
        self.chunk_watcher: Callable[[bytes], None] | None = None
        self.begin_span: Callable[[Outcome], bytes] | None = None
        self.on_first_token: Callable[[], None] | None = None
        self.once: Once | None = None
        self.governed: Governed | None = None
        self.pots: tuple[Pot, ...] = ()
        self.purse: Purse | None = None
        self.reserved: Reservation | None = None
        self.entry: Entry | None = None
        self.trace: object = None
        self.cost_nano_usd = -1
        self.first_token_at = self.duration_s = 0.0
        self.status = 0
        self.waited: bool | None = None

    def __copy__(self) -> Call:
        """For `copy.copy`, which does not know what an object of a compiled class has."""
        twin = Call(self.endpoint, self.headers, self.body, self.client_ip)
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        return twin

    def release(self) -> None:
        """The call is over: take its time, and let go of what may be large."""
        self.duration_s = time.perf_counter() - self.received_at
        self.body = b""
        self.document = _RELEASED
        self.canonical_document = None
        self.uncapped = None

    def begin_stream(self, outcome: Outcome) -> Headers:
        """The head of a streamed answer; the first token is about to leave."""
        self.first_token_at = time.perf_counter()
        outcome.first_byte_s = self.first_token_at - outcome.started_at
        self.status = 200
        if self.on_first_token is not None:
            self.on_first_token()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        self._add_names(headers)  # not the cost: it is not known yet
        return headers

    def canonical(self) -> Document:
        """The request in the canonical form, made when it is first asked for. Raises GatewayError."""
        found = self.canonical_document
        if found is None:
            inbound = self.endpoint.inbound
            found = self.canonical_document = self.document if inbound is None else inbound.canonical(self.document)
        return found

    def add_headers(self, headers: Headers) -> None:
        """What the gateway says of itself on every whole answer of the pipeline."""
        self._add_names(headers)
        if self.cost_nano_usd >= 0:
            headers.append((b"x-gateway-cost-usd", render_usd(self.cost_nano_usd)))

    def fallback_at(self, target: Target) -> str:
        """The own name of the model that an attempt at `target` falls back to; empty where it is the one asked for."""
        serves = target.serves
        return serves if serves and serves != self.model else ""

    @property
    def budget_left_nano_usd(self) -> int | None:
        """What the budgets that pay for this request have left, as far as this worker knows; None without budgets.

        It can be asked for as soon as the key is known, by whoever chooses a model: it waits for nothing, and costs
        nothing where it is not asked for. Until there is a `model` it is what all models are paid from.
        """
        if self.pots or self.purse is None or self.key is None:
            return min((pot.left_nano_usd for pot in self.pots), default=None)
        return self.purse.left_nano_usd(self.key, self.model, self.document)

    def _add_names(self, headers: Headers) -> None:
        outcomes = self.outcomes
        own = self.request_id.encode()
        headers.append((b"x-request-id", self.client_request_id or own))
        if self.client_request_id:
            headers.append((b"x-gateway-request-id", own))
        if outcomes:
            target = outcomes[-1].target
            headers.append((b"x-gateway-model", target.model_header))
            headers.append((b"x-gateway-provider", target.provider_header))
            headers.append((b"x-gateway-attempts", b"%d" % len(outcomes)))
            dropped = outcomes[-1].dropped
            if dropped:
                headers.append((b"x-gateway-dropped-params", ",".join(dropped).encode("ascii", "replace")))
        if self.governed is not None:
            self.governed.add_headers(headers)


def render_usd(nano_usd: int) -> bytes:
    """Nano-dollars as decimal dollars, exact."""
    return b"%d.%09d" % (nano_usd // 1_000_000_000, nano_usd % 1_000_000_000)


def new_request_id(epoch_ms: int) -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of time, 74 random ones. Unique, not secret."""
    high, low = _random_bits(26), _random_bits(48)
    return "%08x-%04x-%04x-%04x-%012x" % (  # noqa: UP031 - a third of the time of an f-string, where it is compiled
        epoch_ms >> 16,
        epoch_ms & 0xFFFF,
        0x7000 | high >> 14,
        0x8000 | high & 0x3FFF,
        low,
    )


def sane_request_id(value: bytes | None) -> bytes | None:
    """A client's own request id, if it is short and plain enough to be echoed and logged."""
    if value is None or not 0 < len(value) <= _MAX_CLIENT_ID or not _SANE.issuperset(value):
        return None
    return value


def _forwarded(headers: Mapping[bytes, bytes]) -> bytes:
    """The client's header lines that an upstream may see: an allow-list without credentials."""
    lines = b""
    for name in _FORWARDED:
        value = headers.get(name)
        if value is not None:
            lines += b"%b: %b\r\n" % (name, value)
    return lines
