"""The keys of all providers, and what is known of them, across reloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.upstream.key_ring import KeyRing, OnBench, ProviderKey


class KeyRings:
    """The key ring of each provider that has a key, by name; a reload goes on with what the old keys did."""

    def __init__(self, on_bench: OnBench | None = None) -> None:
        self._on_bench = on_bench
        self._made: dict[str, KeyRing] = {}

    def find(self, provider: str) -> KeyRing | None:
        """The ring in force; None where the provider needs no key."""
        return self._made.get(provider)

    def make(self, provider: str, keys: Sequence[ProviderKey]) -> KeyRing:
        """A ring of `keys` that takes over from the one in force, and is in force only after `keep`."""
        ring = KeyRing(provider, keys, self._on_bench)
        before = self._made.get(provider)
        if before is not None:
            ring.take_over(before)
        return ring

    def keep(self, rings: Mapping[str, KeyRing]) -> None:
        """These, and no others, are in force from now on."""
        self._made = dict(rings)
