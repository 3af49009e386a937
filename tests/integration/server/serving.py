"""A real server in this process: the port, both lanes, the stages and dispatch, over upstreams that a test directs.

Only the database is left out: keys come from a dictionary, and nothing is metered.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from typing import Any, Self

from aiohttp import web

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.references import References
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.check_references import CheckReferences
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.meter import NoMeter
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.server import routes
from gateway.server.anthropic.token_count import TokenCounts
from gateway.server.app import make_app, open_lanes
from gateway.server.gate import Gate, GateLimits
from gateway.server.line_sink import LineSink
from gateway.server.openai.models import ModelList
from gateway.server.openapi import openapi_document
from gateway.server.ports import Ports, bind
from gateway.server.recorder import Recorder
from gateway.server.request_log import RequestLog
from gateway.server.status_pages import StatusPages
from gateway.services.keys.key import AllowList, Key
from gateway.services.routing.routes import Route, Routes, Routing
from gateway.tasks import Tasks
from gateway.upstream.demo import DemoLine
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.exchange import Limits
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.passages import Passages
from gateway.upstream.relay import Relay
from gateway.upstream.retries import RetryBudget, RetryOptions
from gateway.upstream.target import Account, Line, Manner, Target
from gateway.wire.openai import Variations
from tests.integration.server.client import Client
from tests.integration.server.upstream import ScriptedLine

KEY = "sk-kc-good"
LIMITED_KEY = "sk-kc-limited"
MASTER_KEY = "sk-kc-master"
SMALL = GateLimits(max_connections=50, max_head_bytes=8192, max_headers=40, max_url_bytes=2000, max_body_bytes=200_000)
_TIMES = Limits(connect_s=5, first_byte_s=30, idle_s=30, total_s=60)


class FakeKeys:
    """The keys of the tests, all warm but for those whose name says how they fail."""

    def __init__(self) -> None:
        self.known = {
            KEY: Key(id="k1", name="app", models=None),
            LIMITED_KEY: Key(id="k2", name="chat", models=AllowList(("demo",)), endpoints=frozenset({"chat"})),
            MASTER_KEY: Key(id=None, name="master", is_master=True),
        }
        self.failures = {
            "sk-kc-expired": "expired_api_key",
            "sk-kc-revoked": "invalid_api_key",
            "sk-kc-disabled": "disabled_api_key",
            "sk-kc-away": "key_store_unavailable",
        }

    def find_cached(self, token: str) -> Key | None:
        return self.known.get(token)

    async def find(self, token: str) -> Key:
        await asyncio.sleep(0)
        if not token:
            raise GatewayError("missing_api_key", "No API key was given.")
        if token in self.known:
            return self.known[token]
        raise GatewayError(self.failures.get(token, "invalid_api_key"), "The API key is no good.")


async def _allow_everything(key: Key) -> dict[str, Any]:
    return {"limits": [], "budgets": []}


class NoSpending:
    """Nothing was spent."""

    async def spent_nano_usd(self, key_id: str) -> int:
        return 0


class NothingOwned:
    """Nobody has made anything."""

    async def find_all(self, owner: object, names: object) -> dict[object, object]:
        return {}

    async def of_others(self, owner: object, names: object) -> list[object]:
        return []


class RaisingRoute:
    """A handler with a bug in it."""

    @staticmethod
    async def raise_(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("secret detail")


class Serving:
    """`async with Serving() as s`: the server at `s.port`, its upstream `s.upstream`, its `s.gate`."""

    def __init__(
        self, limits: GateLimits = SMALL, *, tls: ssl.SSLContext | None = None, client_tls: ssl.SSLContext | None = None
    ) -> None:
        self.limits = limits
        self.tls = tls
        self.client_tls = client_tls
        self.upstream = ScriptedLine()
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        metrics = Metrics.in_memory()
        self.sink = LineSink(2, metrics.log_lines_dropped.child())
        log = RequestLog(self.sink, metrics.log_lines_sampled_out.child(), str, sample=0.0)
        self.metrics = metrics
        keys: Any = FakeKeys()
        authenticate = Authenticate(keys, metrics)
        self.routing = Routing(_routes(self.upstream), random.Random(1))
        self.recorder = Recorder(metrics, log)
        options = RetryOptions(attempts=1)
        watcher: Any = None
        dispatch = Dispatch(
            NoMeter(),
            options,
            RetryBudget(options, time.monotonic),
            watcher,
            random.Random(1),
            Passages(_fetch_nothing),
        )
        ownership: Any = NothingOwned()
        stages = [authenticate, ReadRequest(), ChooseRoute(self.routing), CheckReferences(References(ownership))]
        pipeline = Pipeline(stages, dispatch)
        self.gate = Gate(pipeline, self.recorder, self.limits)
        self.ports = Ports(self.gate)
        pages = StatusPages(self.gate, metrics, dict, openapi_document)
        app = make_app(
            [
                *routes.pipeline_routes(self.gate),
                *routes.client_routes(
                    ModelList(authenticate, self.routing, NoSpending(), _allow_everything, 1_700_000_000),
                    TokenCounts(
                        self.gate,
                        authenticate,
                        ChooseRoute(self.routing),
                        CheckReferences(References(ownership)),
                        Relay(lambda: dispatch, Tasks()),
                    ),
                ),
                *routes.status_routes(pages),
                *routes.metrics_routes(pages),
                web.get("/bug", RaisingRoute.raise_),
            ],
            self.recorder.answered,
        )
        limits = self.limits
        self.runner, lane = await open_lanes(app, self.gate)
        assert limits is self.gate.limits
        await self.ports.listen(lane, bind("127.0.0.1", 0, shared=False), self.tls)
        self.port = self.ports.port
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()
        await self.ports.stop()
        self.gate.close()
        await self.runner.cleanup()
        self.sink.close()

    async def connect(self) -> Client:
        """A new connection to it, closed with the server."""
        client = await Client.connect("127.0.0.1", self.port, self.client_tls)
        self._clients.append(client)
        return client

    async def send(self, data: bytes) -> Any:
        """`data` on a connection of its own, and the first answer."""
        client = await self.connect()
        await client.write(data)
        answer = await client.read_answer(head_only=data.startswith(b"HEAD "))
        await client.close()
        return answer

    async def empty(self) -> None:
        """Return when nobody is connected any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while self.gate.connections:
                    await asyncio.sleep(0.01)
        assert not self.gate.connections


async def _fetch_nothing(url: str) -> tuple[str, bytes]:
    raise GatewayError("invalid_field", f"{url} is not fetched here.")


def _routes(upstream: ScriptedLine) -> Routes:
    demo = _target("demo", "demo", DemoLine(), local=True)
    scripted = _target("lab", "scripted-1", upstream, local=False)
    single = _target("lab", "scripted-1", upstream, local=False, lacks=frozenset({"n"}))
    declared = {
        "demo": Route("demo", (demo,)),
        "scripted": Route("scripted", (scripted,)),
        "single": Route("single", (single,)),
        "gpt-4o": Route("gpt-4o", (demo,)),
    }
    return Routes(declared, ("demo", "lab"), lambda provider, model: None, (demo, scripted))


def _target(provider: str, model: str, line: Line, *, local: bool, lacks: frozenset[str] = frozenset()) -> Target:
    account = Account(
        name=provider,
        type="openai",
        base_url="http://127.0.0.1/v1",
        base_path="/v1",
        host=b"127.0.0.1",
        headers={},
        line=line,
        limits=_TIMES,
        manner=Manner(variations=Variations(unsupported=lacks)),
        local=local,
    )
    return Target(account, model, Breaker(BreakerOptions(consecutive_failures=1000), time.monotonic), _TIMES)
