"""The scripts that Valkey runs, and whether a server is fit for them."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError

from gateway.errors import GatewayError
from gateway.store.valkey import Valkey

_NAMES: Final = ("exchange", "found", "bury", "absent")


class Scripts:
    """Runs the package's scripts by their names."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._texts = {name: files(__package__).joinpath(f"{name}.lua").read_bytes() for name in _NAMES}
        # SHA-1 is how Valkey names scripts (https://valkey.io/commands/evalsha, read 2026-11).
        self._shas = {name: hashlib.sha1(text).hexdigest() for name, text in self._texts.items()}

    async def run(self, name: str, keys: list[str], arguments: list[str]) -> Any:
        """The script's answer. Raises GatewayError(store_unavailable), RedisError."""
        words = [*keys, *arguments]
        try:
            raw = await self._valkey.call(lambda client: client.evalsha(self._shas[name], len(keys), *words))
        except NoScriptError:  # a new server, or SCRIPT FLUSH
            text = self._texts[name].decode()
            raw = await self._valkey.call(lambda client: client.eval(text, len(keys), *words))
        return raw


async def check_policy(valkey: Valkey) -> None:
    """Refuse a server that throws keys away when its memory is full. Raises GatewayError(store_unsuitable)."""
    info = await valkey.call(lambda client: client.info("memory"))
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise GatewayError(
            "store_unsuitable",
            f"Valkey's maxmemory-policy is '{policy}', so it may forget what was spent. Set it to noeviction.",
        )
