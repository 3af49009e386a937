"""1,000 requests a minute on two gateways of two workers, asked for much more."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.acceptance.auditing import admitted_by_minute
from tests.acceptance.governing import Clients, governed_site

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
        assert before.sure <= _LIMIT and full.sure <= _LIMIT
        assert before.sure + full.sure + full.doubtful <= 2 * _LIMIT
        assert full.sure + full.doubtful >= 0.95 * _LIMIT
        assert len(windows) == 2
        assert clients.outcomes["429"] > _LIMIT, "the load was not saturating"
