"""The embedded servers as processes: where they run, whom they outlive (nobody), what they survive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from gateway.store.embedded import EmbeddedStores, StoreAddresses
from gateway.store.postgres import Postgres
from gateway.store.process import Account, EmbeddedError
from gateway.store.valkey import Valkey

_HOLDER = Path(__file__).with_name("holder.py")
_ROOT = os.geteuid() == 0


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    yield folder / "home"
    _wait_until_none_of(folder)
    shutil.rmtree(folder)


def _servers(folder: Path) -> list[psutil.Process]:
    """Every living process that works under `folder`: postmaster, its children, Valkey, initdb."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder.resolve()):
                found.append(process)
    return found


def _wait_until_none_of(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while left := _servers(folder):
        assert time.monotonic() < deadline, f"orphans: {left}"
        time.sleep(0.02)


class Held:
    """A process that holds the stores of a home."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, _HOLDER, home, *options], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self.output.readline()
        if not line:
            self.output.close()
            raise AssertionError(f"the holder ended with status {self.process.wait()}")
        self.addresses = StoreAddresses(**orjson.loads(line))

    @property
    def output(self) -> Any:
        return self.process.stdout

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.output.close()
        return status


@contextlib.asynccontextmanager
async def _running(home: Path, **options: Any) -> AsyncIterator[StoreAddresses]:
    stores = EmbeddedStores(home, **options)
    try:
        yield await stores.start()
    finally:
        await stores.stop()


async def _write(addresses: StoreAddresses, text: str) -> None:
    postgres, valkey = await _open(addresses)
    await postgres.execute("CREATE TABLE kept (text TEXT)")
    await postgres.execute("INSERT INTO kept VALUES ($1)", text)
    await valkey.client.set("kept", text)
    await postgres.close()
    await valkey.close()


async def _read(addresses: StoreAddresses) -> tuple[str, bytes]:
    postgres, valkey = await _open(addresses)
    found = await postgres.fetchval("SELECT text FROM kept"), await valkey.client.get("kept")
    await postgres.close()
    await valkey.close()
    return found


async def _open(addresses: StoreAddresses) -> tuple[Postgres, Valkey]:
    assert addresses.postgres is not None
    assert addresses.valkey is not None
    return await Postgres.open(addresses.postgres), await Valkey.open(addresses.valkey)


@pytest.mark.parametrize("name", ["plain", "two words", "one,two", 'a "quoted" $HOME', "ünï"])
async def test_the_stores_start_under_any_path_and_keep_their_data(home: Path, name: str) -> None:
    async with _running(home / name) as addresses:
        await _write(addresses, name)
    assert _servers(home) == []
    async with _running(home / name) as addresses:
        assert await _read(addresses) == (name, name.encode())


async def test_a_path_too_long_for_a_socket_is_reached_by_a_short_one(home: Path) -> None:
    deep = home / ("long" * 30) / ("er" * 40)
    async with _running(deep) as addresses:
        await _write(addresses, "far down")
    async with _running(deep) as addresses:
        assert (await _read(addresses))[0] == "far down"
        assert addresses.postgres is not None
        short = addresses.postgres["host"]
        assert os.readlink(short) == str(deep / "run")
        assert len(short) < 90
    with pytest.raises(FileNotFoundError):
        os.lstat(os.path.dirname(short))


async def test_a_name_that_somebody_else_took_in_the_temporary_directory_is_not_trusted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = home.parent / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    deep = home / ("long" * 40)
    async with _running(deep, valkey=False) as addresses:
        assert addresses.postgres is not None
        taken = Path(addresses.postgres["host"]).parent
    assert taken.parent == elsewhere
    taken.mkdir(mode=0o777)
    taken.chmod(0o777)
    async with _running(deep, valkey=False) as addresses:
        assert addresses.postgres is not None
        other = Path(addresses.postgres["host"]).parent
    assert other.parent != elsewhere


async def test_only_what_is_asked_for_is_started(home: Path) -> None:
    async with _running(home / "a", postgres=False) as addresses:
        assert addresses.postgres is None
        assert addresses.valkey is not None
        assert len(_servers(home)) == 1
    async with _running(home / "b", valkey=False) as addresses:
        assert addresses.valkey is None
        assert {p.name() for p in _servers(home)} == {"postgres"}


async def test_nobody_else_may_enter_the_directories_and_the_servers_do_not_listen_on_the_network(home: Path) -> None:
    async with _running(home):
        for name in (".", "run", "postgres", "postgres/data", "valkey"):
            assert (home / name).stat().st_mode & 0o077 == 0
        assert [c for p in _servers(home) for c in p.net_connections("inet")] == []


async def test_the_servers_get_none_of_the_gateways_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-children")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    async with _running(home):
        for process in _servers(home):
            assert {"OPENAI_API_KEY", "PGPORT"}.isdisjoint(process.environ())


@pytest.mark.skipif(not _ROOT, reason="needs root")
async def test_under_root_the_servers_run_as_nobody_and_the_home_may_be_roots_alone(home: Path) -> None:
    os.mkdir(home, 0o700)
    async with _running(home) as addresses:
        await _write(addresses, "x")
        assert {p.uids().real for p in _servers(home)} == {65534}
        assert os.stat(home).st_uid == 0


@pytest.mark.skipif(not _ROOT, reason="needs root")
def test_a_home_that_a_user_made_keeps_its_owner_when_root_starts_it(home: Path) -> None:
    _open_to_all(home)
    Held(home, "12345").kill(signal.SIGTERM)
    held = Held(home)
    assert {p.uids().real for p in _servers(home)} == {12345}
    held.kill(signal.SIGTERM)


@pytest.mark.skipif(not _ROOT, reason="needs root, to become others")
@pytest.mark.parametrize("uid", [next((e.pw_uid for e in pwd.getpwall() if e.pw_uid), 1), 1000650000])
def test_the_stores_start_as_an_ordinary_user_and_as_one_without_a_name(home: Path, uid: int) -> None:
    if uid > 65536 and subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0:
        pytest.skip("initdb needs a name, or a user namespace, which this machine does not allow")
    _open_to_all(home)
    held = Held(home, str(uid))
    assert {p.uids().real for p in _servers(home)} == {uid}
    asyncio.run(_write(held.addresses, "mine"))
    held.kill()
    held = Held(home, str(uid))
    assert asyncio.run(_read(held.addresses)) == ("mine", b"mine")
    assert held.kill(signal.SIGTERM) == 0


def _open_to_all(home: Path) -> None:
    home.parent.chmod(0o755)
    home.mkdir()
    home.chmod(0o777)


def test_no_server_is_left_when_the_gateway_is_killed_and_all_data_is_back_after(home: Path) -> None:
    held = Held(home)
    asyncio.run(_write(held.addresses, "before"))
    # Valkey writes its file to disk once a second; killed with its gateway it gets the time to finish.
    held.kill()
    _wait_until_none_of(home)
    held = Held(home)
    assert asyncio.run(_read(held.addresses)) == ("before", b"before")
    assert held.kill(signal.SIGTERM) == 0
    assert _servers(home) == []


def test_a_new_gateway_may_start_at_once_after_a_kill(home: Path) -> None:
    held = Held(home)
    asyncio.run(_write(held.addresses, "before"))
    for _ in range(3):
        held.kill()
        held = Held(home)
        assert asyncio.run(_read(held.addresses)) == ("before", b"before")
    held.kill(signal.SIGTERM)


def test_servers_that_were_killed_with_the_gateway_recover(home: Path) -> None:
    held = Held(home)
    asyncio.run(_write(held.addresses, "before"))
    time.sleep(1.2)  # Valkey's promise is a second
    for process in _servers(home):
        process.kill()
    held.kill()
    held = Held(home)
    assert asyncio.run(_read(held.addresses)) == ("before", b"before")
    held.kill(signal.SIGTERM)


def test_ctrl_c_does_not_reach_the_servers_before_the_gateway_has_drained(home: Path) -> None:
    held = Held(home)
    os.killpg(held.process.pid, signal.SIGINT)
    assert held.process.wait(timeout=30) == 0
    assert held.output.read() == "served to the end\n"
    held.output.close()
    assert _servers(home) == []


async def test_a_process_number_that_is_now_another_programs_does_not_block_the_start(home: Path) -> None:
    async with _running(home) as addresses:
        await _write(addresses, "x")
    data = home / "postgres" / "data"
    stale = f"{os.getpid()}\n{data}\n"
    (data / "postmaster.pid").write_text(stale)
    (home / "run" / ".s.PGSQL.5432.lock").write_text(stale)
    (home / "run" / ".s.PGSQL.5432").touch()
    (home / "valkey" / "valkey.pid").write_text(f"{os.getpid()}\n")
    async with _running(home) as addresses:
        assert (await _read(addresses))[0] == "x"


def test_a_zombies_process_number_does_not_block_the_start(home: Path) -> None:
    async def start(text: str | None = None) -> None:
        async with _running(home) as addresses:
            if text is not None:
                await _write(addresses, text)
            assert (await _read(addresses))[0] == "x"

    asyncio.run(start("x"))
    data = home / "postgres" / "data"
    zombie = subprocess.Popen(["true"], cwd=data)
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (data / "postmaster.pid").write_text(f"{zombie.pid}\n{data}\n")
    asyncio.run(start())
    zombie.wait()


def test_a_gateway_killed_while_it_creates_the_database_leaves_nothing_in_the_way(home: Path) -> None:
    process = subprocess.Popen([sys.executable, _HOLDER, home], stdout=subprocess.PIPE)
    unfinished = home / "postgres" / "data.new" / "base"
    while not unfinished.exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (home / "postgres" / "data").exists()
    _wait_until_none_of(home)
    held = Held(home)
    asyncio.run(_write(held.addresses, "whole"))
    held.kill(signal.SIGTERM)


@pytest.mark.parametrize("name", ["postgres", "valkey-server"])
async def test_a_server_that_dies_is_started_again_with_its_data(home: Path, name: str) -> None:
    restarted = asyncio.Event()
    async with _running(home, on_restart=lambda _: restarted.set()) as addresses:
        await _write(addresses, "x")
        await asyncio.sleep(1.1)  # Valkey's promise is a second
        oldest = min((p for p in _servers(home) if p.name() == name), key=lambda p: p.create_time() + p.pid / 1e9)
        oldest.kill()
        await asyncio.wait_for(restarted.wait(), 30)
        assert await _read(addresses) == ("x", b"x")


async def test_a_database_of_another_version_is_refused_by_name_and_nothing_is_left_running(home: Path) -> None:
    async with _running(home):
        pass
    version = home / "postgres" / "data" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 17"):
        await EmbeddedStores(home).start()
    assert _servers(home) == []


async def test_a_server_that_does_not_start_is_reported_in_its_own_words(home: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        await EmbeddedStores(home, settings={"no_such_setting": "1"}).start()
    assert _servers(home) == []


async def test_where_initdb_cannot_be_given_a_name_the_remedies_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine whose /etc/passwd names nobody but root: initdb refuses to be root, by name too.
    monkeypatch.setattr(Account, "named_uid", lambda self: 0)
    with pytest.raises(EmbeddedError, match="has no line in /etc/passwd"):
        await EmbeddedStores(home).start()
    assert _servers(home) == []


async def test_a_home_that_cannot_be_made_is_reported(home: Path) -> None:
    home.parent.joinpath("file").touch()
    with pytest.raises(EmbeddedError, match="cannot be used"):
        await EmbeddedStores(home.parent / "file" / "home").start()


async def test_a_log_that_has_grown_is_moved_aside(home: Path) -> None:
    os.mkdir(home)
    (home / "postgres.log").write_bytes(b"x" * 5_000_000)
    async with _running(home, valkey=False):
        assert (home / "postgres.log").stat().st_size < 100_000
        assert (home / "postgres.log.1").stat().st_size == 5_000_000
