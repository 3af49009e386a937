"""What is kept secret in the database: AES-256-GCM under sub-keys of the gateway's secret, one for each use.

What is sealed for one row cannot be opened as another's: the table and the row's id are associated data. Sealed
under the secret before the one in force, it still opens, and is to be sealed anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

_FORM = b"\x01"
_NONCE_BYTES = 12  # NIST SP 800-38D, 5.2.1.1; random ones are good for 2^32 writes under one key


class CannotOpen(Exception):
    """Sealed under a secret that is not given, for another row, or damaged."""


class Cipher:
    """Seals and opens. `keys` are 32 bytes each, the one in force first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def seal(self, plain: bytes, context: str) -> bytes:
        """`plain`, to be opened with the same `context` only: `table:id`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = _aes(self._keys[0]).encrypt(nonce, plain, context.encode())
        return _FORM + nonce + sealed

    def open(self, sealed: bytes, context: str) -> tuple[bytes, bool]:
        """What was sealed, and whether it was under the key in force. Raises CannotOpen."""
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != _FORM:
            raise CannotOpen
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        for index, key in enumerate(self._keys):
            try:
                plain: bytes = _aes(key).decrypt(nonce, rest, context.encode())
            except (InvalidTag, ValueError):
                continue
            return plain, index == 0
        raise CannotOpen


def _aes(key: bytes) -> Any:
    # 8 MB and 60 ms, which a gateway without stored secrets need not pay.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
