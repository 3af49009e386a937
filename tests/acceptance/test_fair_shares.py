"""A provider's limit, shared by two teams of which one sends fifty times as much as the other."""

from __future__ import annotations

import asyncio
import time

from tests.acceptance.governing import Clients, governed_site

_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
retries: {attempts: 3, base_delay_ms: 10, budget_percent: 100}
breaker: {consecutive_failures: 1000, min_requests: 100000}
logging: {requests: {sample: 0}}
providers:
  up: {type: openai, base_url: "http://127.0.0.1:PORT/v1", api_key: none, limits: {max_concurrency: 2}}
models:
  - {name: m, targets: [{provider: up, model: m}], price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
"""


def test_a_team_that_sends_fifty_times_as_much_cannot_starve_another() -> None:
    with governed_site(gateways=1, workers=1, config=_CONFIG) as site:
        loud, quiet = (Clients([site.gateways[0].port], site.make_key(team=team)["key"]) for team in ("loud", "quiet"))

        async def run() -> None:
            end = time.monotonic() + 6
            await asyncio.gather(
                *(each.run(n, lambda: time.monotonic() > end) for each, n in ((loud, 100), (quiet, 2)))
            )

        asyncio.run(run())
        assert loud.outcomes["200"] > 100
        # By numbers alone it would be a fiftieth; two clients that take turns with a hundred get nearly as much.
        assert quiet.outcomes["200"] > 0.4 * loud.outcomes["200"]
        assert set(loud.outcomes) | set(quiet.outcomes) <= {"200", "502"}
