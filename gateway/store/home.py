"""The home directory: one gateway at a time, and the secrets it made for itself."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

MASTER_KEY_FILE = "master.key"
SECRET_KEY_FILE = "secret.key"
MASTER_KEY_PREFIX = "sk-kc-master-"


class HomeInUseError(Exception):
    """Another gateway runs on this home directory; the message names its process id."""


class Home:
    """A home directory that this process has locked. Made by `Home.open`.

    The lock is the kernel's: it ends with the process, however that ends. Child processes do not
    inherit it.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Home:
        """Make the directory (0700) where it is missing, and lock it.

        Raises HomeInUseError when another gateway holds it, OSError when it cannot be made or written.
        """
        path = path.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise HomeInUseError(
                f"another gateway runs on {path} (process {owner}): stop it, or choose another directory"
                " with --home or GATEWAY_HOME"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        return cls(path, lock)

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def master_key(self) -> str:
        """Return the admin key of this home, made at the first call: the prefix and 256 random bits."""
        return self.secret_file(MASTER_KEY_FILE, lambda: MASTER_KEY_PREFIX + secrets.token_urlsafe(32))

    def secret_key(self) -> bytes:
        """Return the 32 bytes that protect what is stored (key hashes, providers' secrets), made at the first call.

        Raises ValueError when the file was changed into something else.
        """
        text = self.secret_file(SECRET_KEY_FILE, lambda: base64.b64encode(secrets.token_bytes(32)).decode())
        try:
            key = base64.b64decode(text, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError(f"{self.path / SECRET_KEY_FILE} does not hold 32 bytes in base64")
        return key

    def secret_file(self, name: str, generate: Callable[[], str]) -> str:
        """Return what the file `name` holds, without its line end; where it is missing, write it first (0600).

        Written under another name, synced and then linked: a crash leaves either no file or a whole one, and
        nobody sees half of it. Raises ValueError for a file that is empty.
        """
        file = self.path / name
        if not file.exists():
            self._create(file, generate())
        text = file.read_text(encoding="utf-8").strip()
        if not text:
            raise ValueError(f"{file} is empty; delete it to have a new secret made, or put the old one back")
        return text

    def _create(self, file: Path, text: str) -> None:
        new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as output:
                output.write(text + "\n")
                output.flush()
                os.fsync(output.fileno())
            try:
                os.link(new, file)
            except FileExistsError:
                pass  # somebody else was first: theirs holds
        finally:
            new.unlink(missing_ok=True)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
