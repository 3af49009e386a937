"""Authentication that is worked out for each request: which of several keys it takes, or how it is signed."""

from __future__ import annotations

import time

from gateway.errors import GatewayError
from gateway.upstream.job import Headers
from gateway.upstream.key_ring import USUAL_PAUSE_S, KeyRing, ProviderKey
from gateway.upstream.rate_limits import exhausted_for_s
from gateway.upstream.target import Account

_REFUSED = frozenset({"upstream_auth", "upstream_quota"})


async def authentication(
    account: Account, method: str, path: str, body: bytes, now: float
) -> tuple[bytes, ProviderKey | None]:
    """The header lines that authenticate one request, and the key that is in them.

    Raises GatewayError: upstream_auth, upstream_quota or upstream_429 where no key may be used now.
    """
    lines: Headers = []
    key: ProviderKey | None = None
    ring = account.keys
    if ring is not None:
        key = ring.pick(now)
        if key is None:
            raise _none_left(account.name, ring, now)
        lines = [(name.encode(), value.encode("latin-1")) for name, value in key.headers.items()]
    elif account.credentials is not None:
        lines = await account.credentials.headers(method, path, account.host.decode("latin-1"), body)
    return b"".join([b"%b: %b\r\n" % line for line in lines]), key


def _none_left(provider: str, ring: KeyRing, now: float) -> GatewayError:
    wait_s = ring.wait_s(now)
    codes = {key.benched_for for key in ring.keys}
    code = next((code for code in ("upstream_quota", "upstream_auth") if code in codes), "upstream_429")
    message = f"No key of the provider '{provider}' may be used for {wait_s:.0f} s: it refused or slowed them all."
    return GatewayError(code, message, retry_after_s=max(1.0, wait_s))


def judge_key(ring: KeyRing, key: ProviderKey | None, error: GatewayError | None, headers: Headers, now: float) -> None:
    """Tell the ring what an answer says of the key it was asked with."""
    if key is None:
        key = ring.keys[0]
    if error is None:
        ring.succeed(key, now)
        left_s = exhausted_for_s(headers, time.time()) if len(ring.keys) > 1 else 0.0
        if left_s:
            ring.spare(key, now + left_s, now)
    elif error.code in _REFUSED:
        ring.bench(key, error.code, now)
    elif error.code == "upstream_429":
        ring.slow_down(key, now + (error.retry_after_s or USUAL_PAUSE_S), now)
