from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store.home import Home, HomeInUseError

_HOLD = """
import sys, time
from pathlib import Path
from gateway.store.home import Home
home = Home.open(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_new_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "deep" / "home")
    assert home.path.stat().st_mode & 0o777 == 0o700
    home.close()


def test_a_second_gateway_on_one_home_is_told_the_process_of_the_first(tmp_path: Path) -> None:
    process = _holder(tmp_path)
    try:
        with pytest.raises(HomeInUseError, match=rf"process {process.pid}\b"):
            Home.open(tmp_path)
    finally:
        _end(process)


def test_a_killed_gateway_leaves_the_home_free(tmp_path: Path) -> None:
    _end(_holder(tmp_path))
    home = Home.open(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    home.close()


def test_a_closed_home_can_be_opened_again(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    home.close()
    home.close()
    Home.open(tmp_path).close()


def test_child_processes_do_not_inherit_the_lock(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    child = subprocess.Popen(command, close_fds=False, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        # Up: the kernel is done with closing what was not to be inherited.
        assert child.stdout.readline() == b"up\n"
        home.close()
        Home.open(tmp_path).close()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_secrets_are_made_once_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    master, secret = home.master_key(), home.secret_key()
    assert re.fullmatch(r"sk-kc-master-[A-Za-z0-9_-]{43}", master)
    assert len(secret) == 32
    assert (home.master_key(), home.secret_key()) == (master, secret)
    for name in ("master.key", "secret.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert {p.name for p in tmp_path.iterdir()} == {"lock", "master.key", "secret.key"}
    home.close()


def test_two_homes_have_different_secrets(tmp_path: Path) -> None:
    first, second = Home.open(tmp_path / "a"), Home.open(tmp_path / "b")
    assert first.master_key() != second.master_key()
    assert first.secret_key() != second.secret_key()
    first.close()
    second.close()


def test_a_secret_that_appears_meanwhile_is_the_one_that_holds(tmp_path: Path) -> None:
    home = Home.open(tmp_path)

    def generate() -> str:
        (tmp_path / "own.key").write_text("theirs\n")
        return "ours"

    assert home.secret_file("own.key", generate) == "theirs"
    home.close()


@pytest.mark.parametrize("text", ["", "bm90IHRoaXJ0eS10d28=", "%%%"])
def test_a_damaged_secret_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    home = Home.open(tmp_path)
    (tmp_path / "secret.key").write_text(text)
    with pytest.raises(ValueError, match=r"secret\.key") as caught:
        home.secret_key()
    assert not text or text not in str(caught.value)
    home.close()
