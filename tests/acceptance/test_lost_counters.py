"""A gateway dies with a call under way, and Valkey loses its counters: nobody spends what that call may have cost."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.acceptance import ordeals
from tests.acceptance.governing import Site, governed_site
from tests.acceptance.served import call

_LIMIT_NANO = 1_800_000  # of which such a request may cost two thirds
_ANSWER_MS = 1500
_CLOSED_S = 8.0  # by far longer than counters stay closed for those that are alive

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def site() -> Iterator[Site]:
    with governed_site(workers=1, pause_ms=_ANSWER_MS) as running:
        yield running


def _ask(site: Site, number: int, key: str) -> tuple[int, dict[str, str], Any]:
    document = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    return call("POST", site.gateways[number].url + "/v1/chat/completions", document, key)


def _ask_in_vain(site: Site, number: int, key: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        _ask(site, number, key)


def _set_aside(site: Site) -> int:
    with redis.Redis.from_url(site.counters, decode_responses=True) as client:
        return sum(int(client.hget(name, "t") or 0) for name in client.keys("*:m:*"))  # type: ignore[arg-type, union-attr]


def _written_down(site: Site, number: int) -> bool:
    """Has this gateway's journal the beginning of an attempt?"""
    return any(path.read_bytes().strip(b"\0") for path in (site.gateways[number].home / "journal").glob("*/*.journal"))


def _said_of_budgets(site: Site) -> str:
    return str(call("GET", site.gateways[0].url + "/readyz")[2]["budgets"])


def test_what_a_killed_gateway_had_under_way_is_not_spent_twice_though_the_counters_are_lost(site: Site) -> None:
    key = site.make_key(budget={"limit_usd": f"{_LIMIT_NANO / 1e9:.9f}", "period": "total"})["key"]
    asking = threading.Thread(target=_ask_in_vain, args=(site, 1, key))
    asking.start()
    deadline = time.monotonic() + 10
    while not (_set_aside(site) and _written_down(site, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed = site.gateways[1]
    for process in killed.descendants():
        process.kill()
    killed.kill()
    asking.join()
    asyncio.run(ordeals.empty_the_counters(site))

    deadline = time.monotonic() + _CLOSED_S
    while time.monotonic() < deadline:
        status, headers, answer = _ask(site, 0, key)
        assert (status, answer["error"]["code"], headers["retry-after"]) == (503, "budget_rebuilding", "1")
        time.sleep(0.1)
    (dead,) = [path.name for path in (killed.home / "journal").iterdir() if (path / "lock").exists()]
    deadline = time.monotonic() + 20
    while not _said_of_budgets(site).endswith(f"wait for the journals of {dead}"):
        assert time.monotonic() < deadline, _said_of_budgets(site)
        time.sleep(0.1)

    site.start_gateway(1, killed.port)
    deadline = time.monotonic() + 20
    while (answered := _ask(site, 0, key))[0] == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "x-gateway-max-tokens-clamped" in answered[1]  # to what that call has left
    while _ask(site, 0, key)[0] == 200:
        pass
    rows = asyncio.run(site.rows("SELECT outcome, cost_nano_usd AS cost FROM usage_costs"))
    assert "unknown" in {row["outcome"] for row in rows}
    assert sum(row["cost"] for row in rows) <= _LIMIT_NANO
    assert sum(cost for calls in site.billed().values() for cost, _ in calls) <= _LIMIT_NANO
