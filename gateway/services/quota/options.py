"""How the quota service leases and waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuotaOptions:
    """After `lease_s` without a word from it a worker's HELD units are free, and before that it stops spending; so long
    counters that were lost stay closed, too, where there are other workers. One that was silent for `gone_s` is not
    counted among those alive. `store_timeout_s` is the longest that a request waits for Valkey."""

    lease_s: float = 5.0
    gone_s: float = 3.0
    store_timeout_s: float = 0.05
