"""Added latency at one connection: a blocking socket times every request, direct and through, in turn."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from typing import Any

from benchmarks import contestants
from benchmarks.contestants import Running
from benchmarks.figures import Check, median, pair_difference, summary
from benchmarks.plan import Plan
from benchmarks.processes import Failed
from benchmarks.traffic import request_bytes, verify

MEDIAN_TARGET_MS = 0.3
P99_TARGET_MS = 1.5

# Requests sent to one server before the next one's turn: long enough that each is measured warm.
_BLOCK = 250
_WARM_UP = 25


class Client:
    """One kept-alive connection that sends the same request and times each answer."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._request = request_bytes(port, headers)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def time(self, count: int) -> list[int]:
        """Send `count` requests one after another; return each one's nanoseconds to the answer's last byte."""
        send, clock, request = self._socket.sendall, time.perf_counter_ns, self._request
        taken = []
        for _ in range(count):
            began = clock()
            send(request)
            self._read_answer()
            taken.append(clock() - began)
        return taken

    def _read_answer(self) -> None:
        received = self._socket.recv(65536)
        while (size := answer_size(received)) is None or len(received) < size:
            more = self._socket.recv(65536)
            if not more:
                raise Failed(f"the connection was closed within an answer: {received[:300]!r}")
            received += more
        if not received.startswith(b"HTTP/1.1 200") or len(received) != size:
            raise Failed(f"not one clean answer with status 200: {received[:300]!r}")


def answer_size(received: bytes) -> int | None:
    """Bytes of the first answer in `received`, head included; None while that cannot be told yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower() + b"\r\n"
    if (at := head.find(b"\r\ncontent-length:")) >= 0:
        return end + 4 + int(head[at + 17 : head.index(b"\r\n", at + 17)])
    if b"\r\ntransfer-encoding: chunked" in head:
        last = received.find(b"\r\n0\r\n\r\n", end)
        return last + 7 if last >= 0 else None
    raise Failed(f"an answer of unknown length: {received[:300]!r}")


def measure(plan: Plan) -> dict[str, Any]:
    """Time every contestant against the direct call; return summaries in milliseconds and checks."""
    results: dict[str, Any] = {}
    names = ["ours", *(name for name in plan.contestants if name != "ours")]
    with contestants.fixed_upstream(plan.home) as upstream_port:
        for name in names:
            with contestants.run(name, plan, upstream_port) as running:
                results[name] = _compare(plan, running, upstream_port)
            added = [results[name][which] for which in ("added_p50_ms", "added_p99_ms")]
            plan.say(f"  {name}: added median {added[0]:.3f} ms, p99 {added[1]:.3f} ms")
    ours = results["ours"]
    checks = [
        Check("added latency, one connection, median", ours["added_p50_ms"], "ms", most=MEDIAN_TARGET_MS),
        Check("added latency, one connection, p99", ours["added_p99_ms"], "ms", most=P99_TARGET_MS),
    ]
    return {"contestants": results, "checks": [check.as_json() for check in checks]}


def _compare(plan: Plan, running: Running, upstream_port: int) -> dict[str, Any]:
    """Rounds of interleaved blocks; the added latency is the median over rounds of through − direct."""
    rounds = plan.count(7, 2)
    slow = running.name in ("litellm", "portkey")
    blocks = plan.count(2 if slow else 12, 1 if slow else 4)
    verify(running.name, running.port, running.headers)
    with (
        contextlib.closing(Client(upstream_port, {"Authorization": "Bearer sk-none"})) as direct,
        contextlib.closing(Client(running.port, running.headers)) as through,
    ):
        through.time(plan.count(500 if slow else 2000, 200))
        pairs = [_one_round(direct, through, blocks) for _ in range(rounds)]
    every_direct = [value for pair in pairs for value in pair[0]]
    every_through = [value for pair in pairs for value in pair[1]]
    summaries = [(summary(through_ms), summary(direct_ms)) for direct_ms, through_ms in pairs]
    return {
        "direct_ms": summary(every_direct),
        "through_ms": summary(every_through),
        "added_p50_ms": pair_difference([(a["p50"], b["p50"]) for a, b in summaries]),
        "added_p99_ms": pair_difference([(a["p99"], b["p99"]) for a, b in summaries]),
        "added_p50_ms_by_round": [a["p50"] - b["p50"] for a, b in summaries],
        "added_p99_ms_by_round": [a["p99"] - b["p99"] for a, b in summaries],
        "direct_p50_ms": median([b["p50"] for _, b in summaries]),
    }


def _one_round(direct: Client, through: Client, blocks: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each request, direct and through, from blocks that take turns."""
    direct_ms: list[float] = []
    through_ms: list[float] = []
    gc.disable()
    try:
        for _ in range(blocks):
            for client, into in ((direct, direct_ms), (through, through_ms)):
                client.time(_WARM_UP)
                into.extend(taken / 1e6 for taken in client.time(_BLOCK))
    finally:
        gc.enable()
    return direct_ms, through_ms
