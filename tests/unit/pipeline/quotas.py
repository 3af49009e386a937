"""A quota in memory, for tests of what stands over it: real counters, no leases."""

from __future__ import annotations

from gateway.services.quota.ask import Amounts, Refusal
from gateway.services.quota.counter import RATE, Counter, Kind, OnStoreFailure
from gateway.services.quota.kept import KeptCounter


class FakeQuota:
    """`window` is the one that all rates are in; `reason` is why it refuses."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.window = 1
        self.reason = "limit"
        self.retry_after_s = 1.0

    def counter(
        self, name: str, kind: Kind, limit: int, window_s: int = 60, on_store_failure: OnStoreFailure = "local"
    ) -> Counter:
        counter = self.counters.get(name)
        if counter is None:
            counter = self.counters[name] = KeptCounter(name, kind, limit, window_s, on_store_failure)
            counter.available, counter.remaining, counter.window = limit, 0, self.window
        counter.limit = limit
        return counter

    def take(self, amounts: Amounts) -> bool:
        return self._refuser(amounts) is None and self._spend(amounts)

    async def acquire(self, amounts: Amounts) -> Refusal | None:
        refuser = self._refuser(amounts)
        if refuser is not None:
            return Refusal(refuser, self.reason, self.retry_after_s)
        self._spend(amounts)
        return None

    def give_back(self, counter: Counter, amount: int, window: int = 0) -> None:
        if counter.kind != RATE or window == self.window:
            counter.available += amount

    def charge(self, counter: Counter, amount: int) -> None:
        counter.available -= amount

    def settle(self, counter: Counter, amount: int, total: int) -> None:
        counter.limit = total

    def reset_in_s(self, counter: Counter) -> float:
        return 12.0

    def _refuser(self, amounts: Amounts) -> Counter | None:
        return next((counter for counter, amount in amounts if counter.available < amount), None)

    def _spend(self, amounts: Amounts) -> bool:
        for counter, amount in amounts:
            counter.available -= amount
        return True
