"""What a body refers to at a provider must be the caller's own, and is only to be sent where it lies."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.services.keys.key import Key
from gateway.services.ownership.service import Owner, Ownership
from gateway.upstream.target import Target
from gateway.wire.dialect import Document
from gateway.wire.openai_objects import BATCH, FILE, JOB, RESPONSE, UPLOAD, ObjectName, references_in

# The word that a key needs for what a provider is to keep of an answer.
STORED = "responses_stored"

_MISSING = {
    FILE: "No such File object: {}",
    BATCH: "No batch found with id '{}'.",
    JOB: "Could not find fine tune: {}",
    UPLOAD: "No such Upload object: {}",
    RESPONSE: "Response with id '{}' not found.",
}


def missing(kind: str, object_id: str) -> GatewayError:
    """What OpenAI says of an object that is not there: the same for one that is another's."""
    message = _MISSING.get(kind, f"No such {kind.replace('_', ' ')}: {{}}").format(object_id[:256])
    return GatewayError("not_found", message, param="id")


def owner_of(key: Key) -> Owner:
    """As whom a key owns and sees."""
    return Owner(key.team_id, key.id, sees_all=key.is_master)


class References:
    """Asks the table of owners."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership

    async def check(self, key: Key, document: Document) -> set[str]:
        """The providers at which the objects lie that the body refers to.

        Raises not_found for one that is not the caller's own, invalid_request where they lie apart.
        """
        return await self.find(key, *references_in(document))

    async def find(self, key: Key, own: set[ObjectName], items: set[ObjectName]) -> set[str]:
        """The same for what `references_in` found."""
        if not own and not items:
            return set()
        owner = owner_of(key)
        found = await self._ownership.find_all(owner, own)
        if not key.is_master:
            for kind, object_id in sorted(own):
                if (kind, object_id) not in found:
                    raise missing(kind, object_id)
            for kind, object_id in await self._ownership.of_others(owner, items):
                raise missing(kind, object_id)
        providers = {owned.provider for owned in found.values()}
        if len(providers) > 1:
            raise GatewayError("invalid_request", "The objects that the body refers to lie at different providers.")
        return providers


def check_store(key: Key, store: object) -> None:
    """May this key have an answer kept by the provider, as `store: true` asks? Raises endpoint_not_allowed, and
    invalid_field for a `store` that is no boolean."""
    if store is not None and type(store) is not bool:
        raise GatewayError("invalid_field", "The field 'store' must be true or false.", param="store")
    if store and not key.allows_endpoint(STORED):
        raise not_stored("store")


def not_stored(field: str) -> GatewayError:
    """The refusal of a field that asks for storage."""
    return GatewayError(
        "endpoint_not_allowed",
        f"The field '{field}' needs stored responses; a key needs '{STORED}' in its list of endpoints.",
        param=field,
    )


def targets_near(call: Call, near: set[str]) -> list[Target]:
    """The call's targets at the providers where the objects lie that it refers to (none: all). Raises no_provider."""
    there = _at(call.targets, near)
    if not there:
        raise GatewayError(
            "no_provider",
            f"The objects that the body refers to lie at the provider '{min(near)}', which has no target of the model"
            f" '{call.asked_model}'.",
            param="model",
        )
    return there


def keep_near(call: Call, near: set[str]) -> None:
    """Leave the call those targets and fallbacks alone. Raises no_provider where no target is left."""
    call.targets = targets_near(call, near)
    call.context_fallbacks = _at(call.context_fallbacks, near)
    call.policy_fallbacks = _at(call.policy_fallbacks, near)


def _at(targets: Sequence[Target], near: set[str]) -> list[Target]:
    return [target for target in targets if not near or target.provider in near]
