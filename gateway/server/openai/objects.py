"""Which objects a request may touch, where they lie, and whose the new ones are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.pipeline.references import STORED, References, check_store, missing, not_stored, owner_of
from gateway.services.keys.key import Key
from gateway.services.ownership.service import Owned, Owner, Ownership
from gateway.wire.dialect import Document
from gateway.wire.openai_objects import items_in, objects_in
from gateway.wire.openai_operations import Operation

_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.\-]{1,256}\Z")


def checked_id(text: str) -> str:
    """An id from a path. Raises invalid_field for what could be more than an id."""
    if not _ID.match(text):
        raise GatewayError("invalid_field", "The id in the path must be 1 to 256 of A-Z, a-z, 0-9, _ . -", param="id")
    return text


class Objects:
    """The rules, over the table of owners."""

    def __init__(self, ownership: Ownership) -> None:
        self.ownership = ownership
        self.check_references = References(ownership).check

    async def locate(self, key: Key, kind: str, object_id: str) -> Owned | None:
        """The object that a path names; None where only the master key asks and nothing is recorded.

        Raises not_found.
        """
        found = await self.ownership.find(owner_of(key), kind, object_id)
        if found is None and not key.is_master:
            raise missing(kind, object_id)
        return found

    async def learn(self, operation: Operation, owner: Owner, provider: str, document: Document) -> None:
        """Record what an answer tells of as `owner`'s. Raises store_unavailable."""
        names = objects_in(operation.makes, document)
        if operation.path.endswith("/input_items"):
            names = items_in(document.get("data"))
        await self.ownership.record(owner, provider, names)


def storage_changes(key: Key, document: Mapping[str, Any]) -> dict[str, Any]:
    """What must be changed in a request for a response, so that a key stores only if it names `responses_stored`.

    Providers store unless told otherwise, so a key without that word has `store: false` put in. Raises
    endpoint_not_allowed where it asks for storage in words, invalid_field for a `store` that is no boolean.
    """
    store = document.get("store")
    check_store(key, store)
    if key.allows_endpoint(STORED):
        return {}
    wanted = {
        "background": bool(document.get("background")),
        "previous_response_id": document.get("previous_response_id") is not None,
        "conversation": document.get("conversation") is not None,
    }
    for field, is_wanted in wanted.items():
        if is_wanted:
            raise not_stored(field)
    return {} if store is False else {"store": False}


def is_stored(document: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Will the provider keep the response to this request?"""
    return changes.get("store", document.get("store")) is not False
