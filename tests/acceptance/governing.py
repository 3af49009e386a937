"""Two gateways over one PostgreSQL and one Valkey, an upstream that writes down what it bills, and many clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg

from gateway.store.embedded import EmbeddedStores
from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import Upstream, call

INPUT_NANO = 1_000  # per token
OUTPUT_NANO = 10_000
CLASS_TOKENS = 32
_CONFIG = f"""
server: {{drain_grace_s: 0.1, drain_timeout_s: 5}}
retries: {{attempts: 3, base_delay_ms: 10, budget_percent: 100}}
breaker: {{consecutive_failures: 1000, min_requests: 100000}}
ledger: {{copy_interval_ms: 100}}
logging: {{requests: {{sample: 0}}}}
providers:
  up: {{type: openai, base_url: "http://127.0.0.1:PORT/v1", api_key: none}}
models:
  - name: m
    targets: [{{provider: up, model: m}}]
    price: {{input_usd_per_mtok: {INPUT_NANO // 1000}, output_usd_per_mtok: {OUTPUT_NANO // 1000}}}
"""


class Billed(NamedTuple):
    """One call by the upstream's count, in tokens; those that `failed` have none."""

    request: str
    prompt: int
    completion: int
    how: str


@dataclass
class Site:
    """What runs. The stores can be stopped and started; `billed` is the upstream's own book."""

    folder: Path
    postgres: EmbeddedStores
    valkey: EmbeddedStores
    upstream: Upstream
    gateways: list[GatewayProcess]
    database: str
    counters: str
    workers: int
    env: dict[str, str]
    config: Path
    stack: ExitStack
    book: Path

    def start_gateway(self, number: int, port: int | None = None) -> GatewayProcess:
        """One more gateway, on a home of its own, or (with its port) one that was killed, on the home that it had."""
        home = self.folder / f"g{number}"
        started = self.stack.enter_context(gateway(home, self.config, workers=self.workers, env=self.env, port=port))
        self.gateways[number:] = [started, *self.gateways[number + 1 :]]
        return started

    def ports(self) -> list[int]:
        """Where the gateways listen."""
        return [one.port for one in self.gateways]

    def homes(self) -> list[Path]:
        """The gateways' home directories."""
        return [one.home for one in self.gateways]

    def make_key(self, **fields: Any) -> dict[str, Any]:
        """A virtual key, over the first gateway."""
        made: dict[str, Any]
        status, _, made = call("POST", self.gateways[0].url + "/admin/keys", {"name": "t", **fields}, MASTER_KEY)
        assert status == 201, made
        return made

    def billed(self) -> dict[str, list[tuple[int, str]]]:
        """By request: what each of its calls cost by the upstream's count, and how it ended."""
        found: dict[str, list[tuple[int, str]]] = {}
        for each in self.calls():
            found.setdefault(each.request, []).append(
                (each.prompt * INPUT_NANO + each.completion * OUTPUT_NANO, each.how)
            )
        return found

    def calls(self) -> list[Billed]:
        """The upstream's book."""
        lines = (line.split() for line in self.book.read_text().splitlines())
        return [Billed(request, int(prompt), int(completion), how) for request, prompt, completion, how in lines]

    async def rows(self, statement: str, *args: object) -> list[asyncpg.Record]:
        """What the database says."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetch(statement, *args)
        finally:
            await connection.close()

    def settled(self) -> int:
        """Wait until all journals are in the database; the sum of all costs in it."""

        async def look() -> tuple[int, int]:
            rows = await self.rows("SELECT count(*), coalesce(sum(cost_nano_usd), 0)::bigint FROM usage_costs")
            return rows[0][0], rows[0][1]

        before, deadline = (-1, -1), time.monotonic() + 20
        while time.monotonic() < deadline:
            now = asyncio.run(look())
            if now == before:
                return now[1]
            before = now
            time.sleep(0.7)
        raise AssertionError("the ledger does not come to rest")


def _stop(stores: EmbeddedStores) -> None:
    asyncio.run(stores.stop())


@contextmanager
def governed_site(gateways: int = 2, workers: int = 2, pause_ms: int = 4, config: str = _CONFIG) -> Iterator[Site]:
    """All of it, with stores of its own. The upstream takes `pause_ms` for an answer, or a stream's piece."""
    folder = Path(tempfile.mkdtemp(prefix="kg-", dir="/tmp"))
    postgres = EmbeddedStores(folder, valkey=False, settings={"fsync": "off", "full_page_writes": "off"})
    valkey = EmbeddedStores(folder, postgres=False)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for stores in (postgres, valkey):
            stack.callback(_stop, stores)
        database_at = asyncio.run(postgres.start()).postgres
        counters = asyncio.run(valkey.start()).valkey
        assert database_at is not None
        assert counters is not None
        database = f"postgresql://postgres@/postgres?host={quote(str(database_at['host']), safe='')}"
        book = folder / "book"
        book.touch()
        upstream = Upstream(sys.executable, "-m", "tests.servers.billing", "PORT", str(book), str(pause_ms), probe="/")
        upstream.launch()
        stack.callback(upstream.kill)
        file = folder / "gateway.yaml"
        file.write_text(config.replace("PORT", str(upstream.port)))
        env = {"DATABASE_URL": database, "REDIS_URL": counters, "GATEWAY_SECRET_KEY": "s" * 43}
        site = Site(folder, postgres, valkey, upstream, [], database, counters, workers, env, file, stack, book)
        for number in range(gateways):
            site.start_gateway(number)
        yield site


@dataclass
class Clients:
    """Many clients of some gateways at once.

    `outcomes` counts how their requests ended (a status, `cut`, `broken` or `lost`), `sent` has what the upstream knows
    them as, `done` the ids that the gateway gave those of them that were answered. A prompt's size says its class, a
    number up to `most_class`: it has `prompt_tokens` of it, at four characters a token.
    """

    ports: list[int]
    key: str
    cut_share: float = 0.0
    stream_share: float = 0.0
    most_tokens: int = 300
    most_class: int = 8
    pause_s: float = 0.0
    read_timeout_s: float = 30.0
    outcomes: Counter[str] = field(default_factory=Counter)
    done: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    _stop: bool = False

    async def run(self, clients: int, until: Callable[[], bool]) -> None:
        """Send until `until` says so."""
        tasks = [asyncio.create_task(self._client(self.ports[n % len(self.ports)])) for n in range(clients)]
        while not until():
            await asyncio.sleep(0.05)
        self._stop = True
        await asyncio.gather(*tasks)

    async def _client(self, port: int) -> None:
        reader = writer = None
        while not self._stop:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert reader is not None
                keep = await self._request(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                self.outcomes["lost"] += 1
                keep = False
                await asyncio.sleep(0.05)
            if not keep and writer is not None:
                await _close(writer)
                writer = None
            if self.pause_s:
                await asyncio.sleep(self.pause_s * random.uniform(0.5, 1.5))
        if writer is not None:
            await _close(writer)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        name = uuid.uuid4().hex
        stream = random.random() < self.stream_share
        cut = stream and random.random() < self.cut_share / max(self.stream_share, 1e-9)
        size = 4 * prompt_tokens(random.randint(0, self.most_class))
        document = {
            "model": "m",
            "stream": stream,
            "max_tokens": random.randint(1, self.most_tokens),
            "messages": [{"role": "user", "content": f"{name} ".ljust(size, "w")}],
        }
        body = json.dumps(document, separators=(",", ":")).encode()
        self.sent.add(name)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (self.key.encode(), len(body), body)
        )
        async with asyncio.timeout(self.read_timeout_s):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = head[9:12].decode()
            lines = [line.partition(b": ") for line in head.split(b"\r\n")]
            request_id = next((value.decode() for line, _, value in lines if line == b"x-request-id"), "")
            if cut and status == "200":
                await reader.read(1)
                self.outcomes["cut"] += 1
                return False
            if b"transfer-encoding: chunked" in head:
                data = await reader.readuntil(b"0\r\n\r\n")
                ended = "200" if b"[DONE]" in data else "broken"
            else:
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(length)
                ended = status
        self.outcomes[ended] += 1
        if ended == "200":
            self.done[name] = request_id
        elif ended in ("429", "503"):
            await asyncio.sleep(0.02)
        return b"connection: close" not in head


def prompt_tokens(size_class: int) -> int:
    """How large a prompt of this class is: half a class above the least that is taken for it."""
    return CLASS_TOKENS * size_class + CLASS_TOKENS // 2


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
