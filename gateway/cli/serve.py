"""`serve`: stores, migrations, one worker in this process or several beside it, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click
import orjson
import uvloop

from gateway.assembly import KEY_VARIABLES, STAGES, Ground, Worker
from gateway.cli.banner import print_banner
from gateway.cli.probes import local_providers
from gateway.cli.supervisor import Patience, Supervisor
from gateway.cli.worker_status import report_ready, worker_name
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.server.line_sink import LineSink
from gateway.server.logs import is_terminal, set_up_logging
from gateway.server.ports import PortTakenError, probe
from gateway.server.redact import Redactor
from gateway.services.keys.secret import ENV_SECRET, SecretError, Secrets
from gateway.settings import Settings, SettingsError, load, resolve
from gateway.store.embedded import EmbeddedStores, StoreAddresses
from gateway.store.home import Home, HomeInUseError
from gateway.store.migrate import MigrationError, apply
from gateway.store.postgres import Address, Postgres
from gateway.store.process import EmbeddedError

_DEFAULT_HOME = "~/.kubechat-gateway"
# What is served where no configuration is given; config/gateway.yaml is the same, to be changed.
_BUILT_IN = Path(str(resources.files("gateway.settings") / "demo.yaml"))
_WORKER_GROUND = "GATEWAY_WORKER_GROUND"
_MASTER = "GATEWAY_MASTER_KEY"
_REFUSALS = (
    SettingsError,
    GatewayError,
    HomeInUseError,
    EmbeddedError,
    MigrationError,
    SecretError,
    PortTakenError,
    ValueError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's wishes; None where it has none and the configuration decides."""

    config: Path
    host: str | None
    port: int | None
    workers: int | None
    home: Path


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The YAML file. [default: demo only]")
@click.option("--host", help="Address to listen on. [default: server.host, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one. [default: server.port, 8080]")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes that share the port. [default: server.workers, 1]"
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="GATEWAY_HOME",
    default=_DEFAULT_HOME,
    show_default=True,
    help="Where data, journal and generated secrets live.",
)
def serve(*, config: Path | None, host: str | None, port: int | None, workers: int | None, home: Path) -> None:
    """Serve until SIGTERM or Ctrl-C; the first drains, a second ends at once. SIGHUP reloads the configuration."""
    options = Options(config or _BUILT_IN, host, port, workers, home.expanduser().absolute())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            handed_down = os.environ.pop(_WORKER_GROUND, None)
            work = _serve_beside_others(options, handed_down) if handed_down else _serve_alone(options)
            code = runner.run(work)
    except _REFUSALS as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(code)


def _load(options: Options) -> Settings:
    settings = load(options.config, os.environ, KEY_VARIABLES.keys(), STAGES)
    changes = {
        name: value
        for name, value in (("host", options.host), ("port", options.port), ("workers", options.workers))
        if value is not None
    }
    if not changes:
        return settings
    server = settings.server.model_copy(update=changes)
    return settings.model_copy(update={"server": server})


async def _serve_alone(options: Options) -> int:
    """The whole gateway: everything that there is once, and the worker or the workers' supervisor."""
    settings = _load(options)
    server = settings.server
    async with contextlib.AsyncExitStack() as stack:
        home = Home.open(options.home)
        stack.callback(home.close)
        port = probe(server.host, server.port)
        ground = await _prepare(stack, options, settings, home)
        if server.workers > 1:
            return await _supervise(options, ground, server.host, port)
        return await _work(ground, settings, server.host, port, banner=True)


async def _prepare(stack: contextlib.AsyncExitStack, options: Options, settings: Settings, home: Home) -> Ground:
    """Stores started and migrated, secrets read or made."""
    database, valkey = settings.database, settings.valkey
    external = resolve(database.url, os.environ)
    external_valkey = resolve(valkey.url, os.environ)
    answering = await local_providers(settings)
    addresses = StoreAddresses(None, None)
    if external is None or external_valkey is None:
        stores = EmbeddedStores(home.path, postgres=external is None, valkey=external_valkey is None)
        addresses = await stores.start()
        stack.push_async_callback(stores.stop)
    secrets = Secrets.read(os.environ, home.secret_key if external is None else None)
    shutil.rmtree(home.path / "run" / "metrics", ignore_errors=True)
    postgres: Address = external or addresses.postgres or {}
    await _migrate(postgres)
    return Ground(
        home=home.path,
        config=options.config,
        postgres=postgres,
        listen=resolve(database.listen_url, os.environ),
        valkey=external_valkey or addresses.valkey or "",
        secrets=secrets,
        master_key=os.environ.get(_MASTER, "").strip() or home.master_key(),
        worker=worker_name(),
        workers=settings.server.workers,
        environ=os.environ,
        answering=answering,
    )


async def _migrate(address: Address) -> None:
    postgres = await Postgres.open(address, max_size=1)
    try:
        await apply(postgres)
    finally:
        await postgres.close()


async def _work(ground: Ground, settings: Settings, host: str, port: int, *, banner: bool) -> int:
    """One worker, until it is told to end: 0 after a full drain, 1 where requests had to be cut."""
    stop = _Stop()
    worker = await Worker.open(ground, settings)
    try:
        await worker.serve(host, port)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.ask)
        loop.add_signal_handler(signal.SIGHUP, lambda: worker.tasks.spawn(worker.reload(), name="reload"))
        worker.tasks.spawn(worker.watch_config(), name="watch the configuration")
        _spare_the_collector()
        report_ready()
        if banner:  # with several workers the supervisor counts them
            worker.metrics.workers.child().set(1)
            print_banner(ground, settings, host, worker.ports.port)
        await stop.once.wait()
        draining = worker.tasks.spawn(worker.drain(), name="drain")
        at_once = worker.tasks.spawn(stop.twice.wait(), name="second signal")
        await asyncio.wait((draining, at_once), return_when=asyncio.FIRST_COMPLETED)
        return 0 if draining.done() and draining.result() else 1
    finally:
        await worker.close()


def _spare_the_collector() -> None:
    """What was built at start stays for ever: the garbage collector need not look at it again and again.

    Requests leave next to no cycles behind, so that young objects may be looked at less often as well; with
    Python's own figures the collector takes 3 % of a busy worker.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 20)


class _Stop:
    """How often the end was asked for."""

    def __init__(self) -> None:
        self.once = asyncio.Event()
        self.twice = asyncio.Event()

    def ask(self) -> None:
        """Drain; asked again: end at once."""
        (self.twice if self.once.is_set() else self.once).set()


# --- several workers --------------------------------------------------------------------------------


async def _supervise(options: Options, ground: Ground, host: str, port: int) -> int:
    settings = _load(options)
    handed = {
        "postgres": ground.postgres if isinstance(ground.postgres, str) else dict(ground.postgres),
        "listen": ground.listen,
        "valkey": ground.valkey,
        "home": str(ground.home),
        "workers": ground.workers,
        "answering": list(ground.answering),
        "host": host,
        "port": port,
    }
    env = {
        **os.environ,
        _WORKER_GROUND: orjson.dumps(handed).decode(),
        _MASTER: ground.master_key,
    }
    if ENV_SECRET not in env:
        env[ENV_SECRET] = b64encode(ground.secrets.current.material).decode()
    command = [sys.executable, "-m", "gateway", "serve", "--home", str(ground.home)]
    command += ["--config", str(options.config.absolute())]
    metrics = Metrics.open(ground.home / "run" / "metrics", "supervisor")
    redact = Redactor([ground.master_key])
    sink = LineSink(2, metrics.log_lines_dropped.child())
    set_up_logging(sink, redact, level=settings.logging.level.upper(), readable=is_terminal(2))
    drain_s = settings.server.drain_grace_s + settings.server.drain_timeout_s
    supervisor = Supervisor(
        command,
        ground.workers,
        env=env,
        metrics=metrics,
        patience=Patience(drain_s=drain_s + 15.0),
        on_ready=lambda: print_banner(ground, settings, host, port),
    )
    try:
        return await supervisor.run()
    finally:
        metrics.close()
        sink.flush()


async def _serve_beside_others(options: Options, handed_down: str) -> int:
    """One of several workers: stores, secrets and the port come from the supervisor."""
    handed: Mapping[str, Any] = orjson.loads(handed_down)
    settings = _load(Options(options.config, handed["host"], handed["port"], handed["workers"], options.home))
    ground = Ground(
        home=Path(handed["home"]),
        config=options.config,
        postgres=handed["postgres"],
        listen=handed["listen"],
        valkey=handed["valkey"],
        secrets=Secrets.read(os.environ, None),
        master_key=os.environ[_MASTER],
        worker=worker_name(),
        workers=handed["workers"],
        environ=os.environ,
        answering=handed["answering"],
    )
    return await _work(ground, settings, handed["host"], handed["port"], banner=False)
