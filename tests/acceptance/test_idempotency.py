"""Requests with an `Idempotency-Key`, sent again: to another gateway or lane, after a kill -9, after a restart."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import orjson
import pytest

from gateway.store.embedded import StoreAddresses
from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import call

_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
retries: {attempts: 1}
ledger: {copy_interval_ms: 50}
idempotency: {max_answer_kb: 8}
providers:
  up: {type: openai, base_url: "http://127.0.0.1:PORT/v1", api_key: none}
  demo: {type: demo}
models:
  - {name: up, targets: [{provider: up, model: up}]}
  - {name: demo, targets: [{provider: demo, model: demo}]}
"""
_CHAT = "/v1/chat/completions"
_WAIT_S = 30.0
_STALL = 4711
# The mark that a request is about to be sent waits for as long as a test holds the lock.
_STALLING = f"""
CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared({_STALL}); RETURN NEW; END $$;
CREATE TRIGGER stall BEFORE UPDATE ON gateway_idempotent_requests FOR EACH ROW
    WHEN (NEW.state = 'sent' AND OLD.state = 'claimed') EXECUTE FUNCTION stall();
"""


class Upstream(ThreadingHTTPServer):
    """A provider whose answers are all different. What a request says decides: `hold` waits for `gate`, `fail` fails
    once, `large` is long."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []
        self.gate = threading.Event()

    def times(self, text: str) -> int:
        return self.seen.count(text)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.seen)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        document = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        text = document["messages"][0]["content"]
        self.server.seen.append(text)
        if text.startswith("fail") and self.server.times(text) == 1:
            return self._whole(500, {"error": {"message": "no"}})
        said = f"answer {len(self.server.seen)}" + " and so on" * (2000 if text.startswith("large") else 0)
        hold = text.startswith("hold")
        if document.get("stream"):
            return self._stream(said, hold=hold)
        if hold:
            self.server.gate.wait(_WAIT_S)
        message = {"role": "assistant", "content": said}
        return self._whole(200, {"id": "1", "model": "up", "choices": [{"index": 0, "message": message}]})

    def _whole(self, status: int, document: Any) -> None:
        body = orjson.dumps(document)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, said: str, *, hold: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for content in (said, " two", " three"):
            chunk = {"id": "1", "model": "up", "choices": [{"index": 0, "delta": {"content": content}}]}
            self._chunk(b"data: " + orjson.dumps(chunk) + b"\n\n")
            if hold:
                self.server.gate.wait(_WAIT_S)
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def replayed(self) -> bool:
        return self.headers.get("x-gateway-idempotent-replay") == "true"

    @property
    def code(self) -> str:
        code: str = orjson.loads(self.body)["error"]["code"]
        return code


@dataclass
class World:
    """Two gateways over one database, and room for more."""

    one: GatewayProcess
    two: GatewayProcess
    upstream: Upstream
    database: dict[str, Any]
    start: Callable[..., Any]
    key: str

    def ask(self, process: GatewayProcess, idempotency_key: str, text: str, *, stream: bool = False) -> Answer:
        return self.post(process, _CHAT, idempotency_key, chat(text, stream=stream))

    def post(self, process: GatewayProcess, path: str, idempotency_key: str, document: Any) -> Answer:
        connection = self.begin(process, path, idempotency_key, document)
        try:
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        finally:
            connection.close()

    def begin(
        self, process: GatewayProcess, path: str, idempotency_key: str, document: Any
    ) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=_WAIT_S)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        headers["idempotency-key"] = idempotency_key
        connection.request("POST", path, orjson.dumps(document), headers)
        return connection

    def sql(self, statement: str) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(**self.database)
            try:
                return list(await connection.fetch(statement))
            finally:
                await connection.close()

        return asyncio.run(run())


def chat(text: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": "up", "messages": [{"role": "user", "content": text}], "stream": stream}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def world(stores: StoreAddresses, template_database: str) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))  # short: sockets live under it
    name = f"test_{uuid.uuid4().hex}"
    assert stores.postgres is not None
    assert stores.valkey is not None
    database = {**stores.postgres, "database": name}
    _administer(stores, f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
    upstream = Upstream()
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG.replace("PORT", str(upstream.server_address[1])))
    host = quote(str(database["host"]), safe="")
    env = {
        "DATABASE_URL": f"postgresql://{database['user']}@/{name}?host={host}",
        "REDIS_URL": stores.valkey,
        "GATEWAY_SECRET_KEY": "a secret that both gateways are given",
    }

    def start(home: str) -> Any:
        return gateway(folder / home, config, env=env)

    try:
        with ExitStack() as stack:
            one, two = (stack.enter_context(start(home)) for home in ("one", "two"))
            made: dict[str, Any]
            _, _, made = call(
                "POST", one.url + "/admin/keys", {"name": "t", "endpoints": ["default", "responses_stored"]}, MASTER_KEY
            )
            yield World(one, two, upstream, database, start, made["key"])
    finally:
        upstream.gate.set()
        upstream.shutdown()
        upstream.server_close()
        _administer(stores, f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(folder, ignore_errors=True)


def _administer(stores: StoreAddresses, statement: str) -> None:
    async def run() -> None:
        assert stores.postgres is not None
        connection = await asyncpg.connect(**stores.postgres)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def gate(world: World) -> threading.Event:
    """Shut, for the requests that are to be held."""
    world.upstream.gate.clear()
    return world.upstream.gate


@contextmanager
def at_once() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_twin_waits_in_the_other_gateway_and_gets_the_same_answer_for_nothing(
    world: World, gate: threading.Event
) -> None:
    with at_once() as pool:
        first = pool.submit(world.ask, world.one, "twins", "hold twins")
        world.upstream.wait_for("hold twins")
        twins = [pool.submit(world.ask, process, "twins", "hold twins") for process in (world.one, world.two)]
        twins.append(pool.submit(world.post, world.two, _CHAT + "?slow=lane", "twins", chat("hold twins")))
        time.sleep(0.3)
        assert not any(twin.done() for twin in twins)
        gate.set()
        made = first.result(_WAIT_S)
        assert (made.status, made.replayed) == (200, False)
        for twin in twins:
            answer = twin.result(_WAIT_S)
            assert (answer.status, answer.replayed, answer.body) == (200, True, made.body)
            assert answer.headers["x-gateway-provider"] == "up"
            assert answer.headers["x-gateway-cost-usd"] == "0.000000000"
            assert answer.headers["x-request-id"] != made.headers["x-request-id"]
    assert world.upstream.times("hold twins") == 1
    ids = ", ".join(f"'{answer.headers['x-request-id']}'" for answer in [made, *(twin.result() for twin in twins)])
    wait_until(lambda: bool(world.sql(f"SELECT FROM usage_costs WHERE request_id IN ({ids})")))
    assert len(world.sql(f"SELECT FROM usage_costs WHERE request_id IN ({ids})")) == 1
    wait_until(lambda: sum(line.get("replayed") is True for line in world.two.log_lines()) == 2)
    _, _, metrics = call("GET", world.two.url + "/metrics")
    assert b'gateway_idempotent_requests_total{result="replayed"} 2' in metrics


def test_a_stream_is_replayed_byte_for_byte(world: World) -> None:
    made = world.ask(world.one, "stream", "a stream", stream=True)
    again = world.ask(world.two, "stream", "a stream", stream=True)
    assert made.body.endswith(b"data: [DONE]\n\n")
    assert (again.status, again.replayed, again.body) == (200, True, made.body)
    assert again.headers["content-type"].startswith("text/event-stream")
    assert world.upstream.times("a stream") == 1


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (_CHAT, {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 50}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/responses", {"input": "x", "stream": True}),
    ],
)
def test_every_endpoint_of_the_pipeline_has_it(world: World, path: str, document: dict[str, Any]) -> None:
    key = uuid.uuid4().hex
    made = world.post(world.one, path, key, {"model": "demo", **document})
    assert (made.status, made.replayed) == (200, False)
    again = world.post(world.two, path, key, {"model": "demo", **document})
    assert (again.status, again.replayed, again.body) == (200, True, made.body)


def test_another_body_is_refused_and_another_api_key_is_another_request(world: World) -> None:
    made = world.ask(world.one, "reused", "one thing")
    refused = world.ask(world.two, "reused", "another thing")
    assert (refused.status, refused.code) == (422, "idempotency_key_reused")
    status, _, master = call("POST", world.one.url + _CHAT, chat("one thing"), MASTER_KEY)
    assert status == 200
    assert master != orjson.loads(made.body)
    assert world.upstream.times("another thing") == 0


def test_a_failure_is_not_kept(world: World) -> None:
    assert world.ask(world.one, "failure", "fail first").status == 502
    again = world.ask(world.two, "failure", "fail first")
    assert (again.status, again.replayed) == (200, False)
    assert world.ask(world.one, "failure", "fail first").body == again.body


@pytest.mark.parametrize("stream", [False, True])
def test_a_large_answer_is_given_once_and_not_made_again(world: World, stream: bool) -> None:
    text = f"large {stream}"
    assert len(world.ask(world.one, text, text, stream=stream).body) > 10_000
    again = world.ask(world.two, text, text, stream=stream)
    assert (again.status, again.code) == (409, "idempotency_answer_too_large")
    assert again.headers["x-should-retry"] == "false"
    assert world.upstream.times(text) == 1


@pytest.mark.parametrize("path", [_CHAT, _CHAT + "?slow=lane"])
def test_who_hangs_up_and_asks_again_gets_the_whole_answer(world: World, gate: threading.Event, path: str) -> None:
    text = f"hold {path}"
    connection = world.begin(world.one, path, path, chat(text, stream=True))
    beginning = connection.getresponse().readline()
    connection.close()
    with at_once() as pool:
        twin = pool.submit(world.ask, world.two, path, text, stream=True)
        time.sleep(0.3)
        assert not twin.done()
        gate.set()
        answer = twin.result(_WAIT_S)
    assert answer.replayed
    assert answer.body.startswith(beginning)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert world.upstream.times(text) == 1


def test_a_kill_is_made_good_before_sending_and_told_of_after(world: World) -> None:
    """Killed with one request at the provider and one that is not sent yet; it starts again and has what was kept."""
    with at_once() as pool:
        with world.start("three") as three:
            kept = world.ask(three, "kept", "kept")
            sent = pool.submit(world.ask, three, "sent", "hold sent")
            world.upstream.wait_for("hold sent")
            unsent = asyncio.run(_kill_before_sending(world, three, pool))
        for lost in (sent, unsent):
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                lost.result(_WAIT_S)
        after = pool.submit(world.ask, world.one, "sent", "hold sent")
        before = pool.submit(world.ask, world.two, "unsent", "unsent")
        with world.start("three") as three:
            again = world.ask(three, "kept", "kept")
            assert (again.replayed, again.body) == (True, kept.body)
            told, made = after.result(_WAIT_S), before.result(_WAIT_S)
            assert (told.status, told.code) == (409, "idempotency_outcome_unknown")
            assert told.headers["x-should-retry"] == "false"
            assert (made.status, made.replayed) == (200, False)
            assert world.ask(three, "sent", "hold sent").code == "idempotency_outcome_unknown"
    assert (world.upstream.times("hold sent"), world.upstream.times("unsent")) == (1, 1)


async def _kill_before_sending(world: World, process: GatewayProcess, pool: ThreadPoolExecutor) -> Any:
    """Kill it while it marks a request as about to be sent; its database session ends with it, as it does in time."""
    connection = await asyncpg.connect(**world.database)
    try:
        await connection.execute(_STALLING)
        await connection.execute("SELECT pg_advisory_lock($1)", _STALL)
        asked = pool.submit(world.ask, process, "unsent", "unsent")
        stuck = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        async with asyncio.timeout(_WAIT_S):
            while (pid := await connection.fetchval(stuck)) is None:
                await asyncio.sleep(0.01)
        process.kill()
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await connection.execute("DROP TRIGGER stall ON gateway_idempotent_requests")
        return asked
    finally:
        await connection.close()
