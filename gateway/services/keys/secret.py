"""Sub-keys of the gateway's secret: one for the checksum in a token, one for the hash kept of it.

`GATEWAY_SECRET_KEY` is 32 random bytes in base64 (`openssl rand -base64 32`); any other string of at
least 32 characters is taken as it is. Sub-keys come from it by HKDF-SHA256 (RFC 5869), one `info` for
each use, so that no use can learn or stand in for another. During a change of the secret
`GATEWAY_SECRET_KEY_PREVIOUS` holds the old one: keys made under it work until it is taken away.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ENV_SECRET = "GATEWAY_SECRET_KEY"
ENV_PREVIOUS = "GATEWAY_SECRET_KEY_PREVIOUS"
_LEAST_CHARACTERS = 32
_SALT = b"kubechat-gateway"
_FINGERPRINT_BYTES = 16


class SecretError(Exception):
    """The gateway's secret is absent, too short, or not the one that the database was set up with."""


def hkdf_sha256(material: bytes, *, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256. RFC 5869, sections 2.2 and 2.3; one block, so expansion is one HMAC.

    Written out because `cryptography`'s costs a worker 8 MB and 60 ms of import.
    """
    extracted = hmac.digest(salt, material, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@dataclass(slots=True, frozen=True)
class Secret:
    """One secret. Its `repr` shows the fingerprint only."""

    material: bytes = field(repr=False)
    fingerprint: bytes
    checksum_key: bytes = field(repr=False)
    hash_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, name: str = ENV_SECRET) -> Secret:
        """The secret written as `text`. Raises `SecretError`, naming `name`, when it is too short."""
        text = text.strip()
        material = _decode(text)
        if material is None:
            if len(text) < _LEAST_CHARACTERS:
                raise SecretError(
                    f"{name} is too short: give 32 random bytes in base64 (openssl rand -base64 32), "
                    f"or at least {_LEAST_CHARACTERS} characters"
                )
            material = text.encode("utf-8", "surrogateescape")
        return cls.of(material)

    @classmethod
    def of(cls, material: bytes) -> Secret:
        """The secret of these bytes, of which at least 32 must be hard to guess."""
        return cls(
            material=material,
            fingerprint=_subkey(material, b"fingerprint/v1")[:_FINGERPRINT_BYTES],
            checksum_key=_subkey(material, b"api-key-checksum/v1"),
            hash_key=_subkey(material, b"api-key-hash/v1"),
        )

    def subkey(self, info: str) -> bytes:
        """32 bytes for the use that `info` names, e.g. `admin-secrets/v1`; different for every name."""
        return _subkey(self.material, info.encode())

    def hash_token(self, token: str) -> bytes:
        """What the database keeps of a token: HMAC-SHA256 under a sub-key, 32 bytes."""
        return hmac.digest(self.hash_key, token.encode(), "sha256")


@dataclass(slots=True, frozen=True)
class Secrets:
    """The secret in force and, while it is being changed, the one before."""

    current: Secret
    previous: Secret | None = None

    @property
    def all(self) -> tuple[Secret, ...]:
        """The secret in force first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)

    @classmethod
    def read(cls, environ: Mapping[str, str], home_secret: Callable[[], bytes] | None) -> Secrets:
        """From the environment, failing that from `home_secret` (`gateway.store.home.Home.secret_key`).

        `home_secret` is None with an external database, where a secret of one replica's own would lock
        out all others: then the environment must have it. Raises `SecretError`, and what `home_secret` does.
        """
        if text := environ.get(ENV_SECRET, "").strip():
            current = Secret.parse(text)
        elif home_secret is not None:
            current = Secret.of(home_secret())
        else:
            raise SecretError(
                f"{ENV_SECRET} is not set. With a database of your own (DATABASE_URL) every replica needs "
                "the same secret: make one with `openssl rand -base64 32` and keep it with the database's backups"
            )
        previous = environ.get(ENV_PREVIOUS, "").strip()
        return cls(current, Secret.parse(previous, name=ENV_PREVIOUS) if previous else None)


def same_secret(left: str, right: str) -> bool:
    """Are two strings equal? Takes the same time wherever they differ, and whatever their lengths."""
    return hmac.compare_digest(_sha256(left), _sha256(right))


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _subkey(material: bytes, info: bytes) -> bytes:
    return hkdf_sha256(material, salt=_SALT, info=b"kubechat-gateway/" + info)


def _decode(text: str) -> bytes | None:
    """The 32 bytes that `text` is the base64 of, standard or url-safe, padded or not; else None."""
    if len(text) not in (43, 44):
        return None
    try:
        return base64.b64decode(text.rstrip("=").replace("-", "+").replace("_", "/") + "=", validate=True)
    except (binascii.Error, ValueError):
        return None
