"""A counter that can be kept in a dictionary for as long as somebody else keeps it."""

from __future__ import annotations

from gateway.services.quota.counter import Counter


class KeptCounter(Counter):
    """A class of its own, and never compiled: the objects of a compiled class cannot be referred to weakly."""

    __slots__ = ("__weakref__",)
