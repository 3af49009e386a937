"""What a token looks like: `sk-kc-`, 43 base62 digits of 256 random bits, 6 of a keyed checksum.

Base62 has no character that a URL, a shell or a double click would treat apart, and the length is
fixed, so a token has exactly one spelling. The checksum is HMAC-SHA256 under a sub-key of the
gateway's secret, cut to 35.7 bits: a forger without that key needs some 28 thousand million tries for
one that costs the gateway a look-up, and that one still names no key.
"""

from __future__ import annotations

import hmac
import secrets

from gateway.services.keys.secret import Secret, Secrets

PREFIX = "sk-kc-"
RANDOM_BITS = 256
RANDOM_DIGITS = 43  # the fewest with 62^n >= 2^256
CHECKSUM_DIGITS = 6  # log2(62^6) = 35.7 bits
BODY_END = len(PREFIX) + RANDOM_DIGITS
LENGTH = BODY_END + CHECKSUM_DIGITS

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM_RANGE = len(_DIGITS) ** CHECKSUM_DIGITS
_SHOWN_START = len(PREFIX) + 3
_SHOWN_END = 4


def make_token(secret: Secret) -> str:
    """A new token whose checksum holds under `secret`."""
    body = PREFIX + _base62(secrets.randbits(RANDOM_BITS), RANDOM_DIGITS)
    return body + checksum(body, secret)


def checksum(body: str, secret: Secret) -> str:
    """The digits that end a token which starts with `body`."""
    mac = hmac.digest(secret.checksum_key, body.encode(), "sha256")
    # 128 bits of it: the remainder's bias towards small numbers is then below 2^-92.
    return _base62(int.from_bytes(mac[:16], "big") % _CHECKSUM_RANGE, CHECKSUM_DIGITS)


def maker_of(token: str, among: Secrets) -> Secret | None:
    """The secret under which `token` was made, or None when it is no token of ours. No look-up, no await."""
    if len(token) != LENGTH or not token.startswith(PREFIX) or not token.isascii():
        return None
    body, tail = token[:BODY_END], token[BODY_END:]
    for secret in among.all:
        if hmac.compare_digest(checksum(body, secret), tail):
            return secret
    return None


def redact(token: str) -> str:
    """As much of a token as may be shown: `sk-kc-Ab3…x9Qz`; nothing of one that is short or unprintable."""
    if len(token) < 24 or not token.isascii() or not token.isprintable():
        return "…"
    return f"{token[:_SHOWN_START]}…{token[-_SHOWN_END:]}"


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text
