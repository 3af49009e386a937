"""What Valkey has of money, from outside of any worker: read, and put right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.errors import GatewayError
from gateway.services.quota.counter import MONEY
from gateway.services.quota.exchange import EPOCH_KEY, TAG, WORKERS_KEY, money_key
from gateway.store.valkey import Valkey

_AT_ONCE: Final = 500
_TRIES: Final = 3
_NOT_WORKERS: Final = (b"t", b"s", b"o")


@dataclass(frozen=True, slots=True)
class MoneyHeld:
    """A money counter, nano-dollars: what it has as settled, as held in total, and as held by each worker."""

    settled: int
    held: int
    holders: Mapping[str, int]


class Inspection:
    """Of the epoch in force; where there is none (Valkey is new, or was restarted), nothing is counted.

    All methods raise GatewayError store_unavailable where Valkey is away. Counters are named as workers name them.
    """

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._put_right = files(__package__).joinpath("put_right.lua").read_text(encoding="utf-8")

    async def counters(self, names: Sequence[str]) -> dict[str, MoneyHeld]:
        """The counters that are there; each as it was at one moment."""
        for _ in range(_TRIES):
            epoch = await self._epoch()
            found: dict[str, MoneyHeld] = {}
            for first in range(0, len(names) if epoch else 0, _AT_ONCE):
                part = names[first : first + _AT_ONCE]
                rows = await self._ask([("HGETALL", _key(epoch, name)) for name in part])
                found |= {name: _counter(row) for name, row in zip(part, rows, strict=True) if b"s" in row}
            if await self._epoch() == epoch:
                return found
        raise GatewayError("store_unavailable", "The counters begin anew again and again.")

    async def held_by(self, workers: Sequence[str]) -> dict[str, dict[str, int]]:
        """For each worker that holds anything: nano-dollars by the counter's name."""
        epoch = await self._epoch()
        if not epoch:
            return {}
        sets = await self._ask([("SMEMBERS", money_key(epoch, worker)) for worker in workers])
        places = [(worker, key.decode()) for worker, keys in zip(workers, sets, strict=True) for key in sorted(keys)]
        amounts = await self._ask([("HGET", key, worker) for worker, key in places])
        held: dict[str, dict[str, int]] = {}
        for (worker, key), amount in zip(places, amounts, strict=True):
            if amount is not None:
                held.setdefault(worker, {})[key.split(":", 3)[3]] = int(amount)
        return held

    async def silent_s(self, worker: str) -> float | None:
        """Seconds since Valkey heard of a worker; None: it has not in this epoch, or was told that it is gone."""
        seconds, heard_ms = await self._ask([("TIME",), ("ZSCORE", WORKERS_KEY, worker)])
        return None if heard_ms is None else float(seconds[0]) - float(heard_ms) / 1000

    async def put_right(self, name: str, total: int, gone: Sequence[str]) -> int:
        """Have a counter's settled be `total`, free what the workers `gone` hold of it, and add up the rest.

        `total` is the ledger's; the caller sees to it that it does not grow meanwhile. Beside workers that go on this
        is safe. Returns what was freed, nano-dollars; 0 where the counter is not there, for it will begin right.
        """
        epoch = await self._epoch()
        if not epoch:
            return 0
        keys = [EPOCH_KEY, WORKERS_KEY, _key(epoch, name), *(money_key(epoch, worker) for worker in gone)]
        words = [*keys, epoch, str(total), *gone]
        answer = await self._valkey.call(lambda client: client.eval(self._put_right, len(keys), *words))
        return max(int(answer), 0)

    async def _epoch(self) -> str:
        """The epoch in force; empty: none."""
        stored, info = await self._ask([("HMGET", EPOCH_KEY, "id", "run"), ("INFO", "server")])
        name, run = stored
        if name is None or run is None or run.decode() != str(info["run_id"]):
            return ""
        return str(name.decode())

    async def _ask(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        """The answers, in one round trip."""

        async def ask(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

        try:
            return await self._valkey.call(ask) if commands else []
        except ResponseError as error:
            raise GatewayError("store_unavailable", f"Valkey cannot say what is counted: {error}.") from error


def _key(epoch: str, name: str) -> str:
    return f"{TAG}{epoch}:{MONEY}:{name}"


def _counter(row: Mapping[bytes, bytes]) -> MoneyHeld:
    holders = {field.decode(): int(amount) for field, amount in row.items() if field not in _NOT_WORKERS}
    return MoneyHeld(int(row[b"s"]), int(row.get(b"t", b"0")), holders)
