"""1,000 requests a minute on two gateways of two workers, asked for much more."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.acceptance.auditing import admitted_by_minute
from tests.acceptance.governing import Clients, governed_site
from tests.acceptance.served import call

_LIMIT = 1000
_CLIENTS = 40
_WINDOW_S = 60
_TAIL_S = 4.0
_WATCHED_S = 15.0


@pytest.mark.timeout(240)  # it waits for a minute to end
def test_a_limit_of_requests_admits_no_more_than_it_says_in_a_window_and_nearly_all_of_it() -> None:
    with governed_site() as site:
        made = site.make_key(rpm=_LIMIT)
        clients = Clients(site.ports(), made["key"], most_tokens=1, most_class=0)
        # Valkey's clock is this machine's.
        edge = (time.time() + 2 * _TAIL_S) // _WINDOW_S * _WINDOW_S + _WINDOW_S
        time.sleep(max(0.0, edge - _TAIL_S - time.time()))
        asyncio.run(clients.run(_CLIENTS, lambda: time.time() > edge + _WATCHED_S))
        windows = admitted_by_minute(site, made["id"])
        before, full = windows[int(edge) // 60 - 1], windows[int(edge) // 60]
        assert before.sure <= _LIMIT
        assert full.sure <= _LIMIT
        assert before.sure + full.sure + full.doubtful <= 2 * _LIMIT
        assert full.sure + full.doubtful >= 0.95 * _LIMIT
        assert len(windows) == 2
        assert clients.outcomes["429"] > _LIMIT, "the load was not saturating"


def test_what_a_key_is_made_with_holds_from_its_first_request_on_at_every_gateway() -> None:
    document = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "first " + "w" * 50}]}
    with governed_site(workers=1) as site:

        def ask(number: int, key: str) -> int:
            return call("POST", site.gateways[number].url + "/v1/chat/completions", document, key)[0]

        for _ in range(10):
            poor = site.make_key(budget={"limit_usd": "0.000001", "period": "total"})["key"]
            assert [ask(0, poor), ask(1, poor)] == [429, 429]
            slow = site.make_key(rpm=1)["key"]
            minute = time.time() // _WINDOW_S
            ask(0, slow)  # the one that a minute allows
            assert ask(1, slow) == 429 or time.time() // _WINDOW_S > minute
