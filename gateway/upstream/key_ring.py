"""Several keys of one provider: which one the next request takes, and which ones are left alone for a while.

Three things can happen to a key. It is *benched* when the provider refuses it (401, quota): for ten seconds, then
twice as long each time it is refused again. It is *slowed* when the provider says to wait (429): not used until
then. It is *spared* when an answer says that it has nothing left of a limit: used only where no other key is fit,
for what is left is filled up bit by bit. Synchronous and without a clock: `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_BENCH_S = 10.0
LONGEST_BENCH_S = 600.0
LONGEST_PAUSE_S = 3600.0
# Where a 429 does not say for how long.
USUAL_PAUSE_S = 1.0
_MAX_DOUBLINGS = 16


class ProviderKey:
    """One key: `label` is for people (where it comes from, never what it is), `headers` carry it in a request.

    The rest belongs to its ring.
    """

    __slots__ = (
        "_credit",
        "_out_until",
        "_spared_until",
        "_strikes",
        "benched_for",
        "headers",
        "label",
        "secret",
        "weight",
    )

    def __init__(
        self, label: str, secret: str, *, weight: float = 1.0, headers: Mapping[str, str] | None = None
    ) -> None:
        self.label = label
        self.secret = secret
        self.weight = weight
        self.headers = headers or {}
        self.benched_for = ""  # the failure's code, while it is benched and until it has worked again
        self._credit = 0.0
        self._out_until = self._spared_until = 0.0
        self._strikes = 0

    def __repr__(self) -> str:
        return f"ProviderKey({self.label})"


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key as an administrator sees it; `for_s`: seconds until it is `ok` again, `code` why it was benched."""

    label: str
    weight: float
    state: Literal["ok", "benched", "slowed", "spared"]
    for_s: float = 0.0
    code: str | None = None


# The provider's name, the key, the failure's code, and for how many seconds.
OnBench = Callable[[str, ProviderKey, str, float], None]


class KeyRing:
    """The keys of one provider, at least one. `on_bench` hears of each benching."""

    __slots__ = ("_hindered_until", "_on_bench", "_single", "keys", "provider")

    def __init__(self, provider: str, keys: Sequence[ProviderKey], on_bench: OnBench | None = None) -> None:
        if not keys:
            raise ValueError("a key ring needs a key")
        self.provider = provider
        self.keys = tuple(keys)
        self._on_bench = on_bench
        self._single = self.keys[0] if len(self.keys) == 1 else None
        self._hindered_until = 0.0  # from then on every key is fit

    def pick(self, now: float) -> ProviderKey | None:
        """The key for the next request; None while all are benched or slowed (`wait_s` says for how long).

        Fit keys take turns in proportion to their weights, as evenly as that goes: nginx's smooth weighted
        round-robin, https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1.
        """
        if now >= self._hindered_until:
            return self._single or _next(self.keys)
        usable = [key for key in self.keys if now >= key._out_until]
        fit = [key for key in usable if now >= key._spared_until]
        if fit:
            return _next(fit)
        return min(usable, key=lambda key: key._spared_until) if usable else None

    def wait_s(self, now: float) -> float:
        """Seconds until `pick` gives a key; 0.0 if it does now."""
        return max(0.0, min(key._out_until for key in self.keys) - now)

    def bench(self, key: ProviderKey, code: str, now: float) -> None:
        """The provider refused this key: `upstream_auth` or `upstream_quota`.

        Requests that were under way when it was benched are refused too: they count once.
        """
        if key.benched_for and now < key._out_until:
            return
        pause_s = min(FIRST_BENCH_S * 2.0 ** min(key._strikes, _MAX_DOUBLINGS), LONGEST_BENCH_S)
        key._strikes += 1
        key.benched_for = code
        self._put_out(key, now + pause_s)
        if self._on_bench is not None:
            self._on_bench(self.provider, key, code, pause_s)

    def slow_down(self, key: ProviderKey, until: float, now: float) -> None:
        """The provider said to wait until `until` (429 with Retry-After); at most an hour is believed."""
        self._put_out(key, min(until, now + LONGEST_PAUSE_S))

    def spare(self, key: ProviderKey, until: float, now: float) -> None:
        """The key has nothing left of a limit until `until` (`rate_limits.exhausted_for_s`)."""
        key._spared_until = max(key._spared_until, min(until, now + LONGEST_PAUSE_S))
        self._hindered_until = max(self._hindered_until, key._spared_until)

    def succeed(self, key: ProviderKey, now: float) -> None:
        """The key was accepted. (An answer to a request from before it was benched says nothing.)"""
        if key._strikes and now >= key._out_until:
            key._strikes = 0
            key.benched_for = ""

    def restore(self, key: ProviderKey) -> None:
        """Forget all that was held against the key: somebody has seen that it works."""
        key._strikes = 0
        key.benched_for = ""
        key._out_until = key._spared_until = 0.0

    def benched(self, now: float) -> int:
        """How many keys are benched."""
        if now >= self._hindered_until:
            return 0
        return sum(1 for key in self.keys if key.benched_for and now < key._out_until)

    def state(self, now: float) -> list[KeyState]:
        """How each key is, for `GET /admin/providers`."""
        return [_state(key, now) for key in self.keys]

    def take_over(self, before: KeyRing) -> None:
        """Go on where the ring before a reload stood: a key that is still there is held to what it did."""
        known = {key.secret: key for key in before.keys}
        for key in self.keys:
            old = known.get(key.secret)
            if old is not None:
                key.benched_for, key._strikes = old.benched_for, old._strikes
                key._out_until, key._spared_until = old._out_until, old._spared_until
                self._hindered_until = max(self._hindered_until, key._out_until, key._spared_until)

    def _put_out(self, key: ProviderKey, until: float) -> None:
        key._out_until = max(key._out_until, until)
        self._hindered_until = max(self._hindered_until, key._out_until)


def _next(keys: Sequence[ProviderKey]) -> ProviderKey:
    total = 0.0
    best = keys[0]
    for key in keys:
        key._credit += key.weight
        total += key.weight
        if key._credit > best._credit:
            best = key
    best._credit -= total
    return best


def _state(key: ProviderKey, now: float) -> KeyState:
    if now < key._out_until:
        benched = bool(key.benched_for)
        left_s = round(key._out_until - now, 3)
        return KeyState(key.label, key.weight, "benched" if benched else "slowed", left_s, key.benched_for or None)
    if now < key._spared_until:
        return KeyState(key.label, key.weight, "spared", round(key._spared_until - now, 3), key.benched_for or None)
    return KeyState(key.label, key.weight, "ok", 0.0, key.benched_for or None)
