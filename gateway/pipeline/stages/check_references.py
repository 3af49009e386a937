"""Are the files that it names the caller's own?"""

from __future__ import annotations

from typing import ClassVar

import orjson

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.references import References, check_store, keep_near
from gateway.pipeline.stage import Stage, Turn
from gateway.services.keys.key import Key
from gateway.wire.openai_objects import FILE, may_refer, references_in

_FILES = "files"
# Documents to be ranked are the client's own data, whatever their fields are called.
_DATA_ONLY = frozenset({"rerank"})


class CheckReferences(Stage):
    """Refuse files and the like that are not the caller's own, and send what is to where it lies.

    A provider knows the gateway's credentials only: it would give any caller's request any caller's file.
    """

    name: ClassVar[str] = "check_references"
    switchable: ClassVar[bool] = False

    def __init__(self, references: References) -> None:
        self._references = references

    def on_request(self, call: Call) -> Turn:
        document = call.document
        if "store" in document:
            assert call.key is not None
            check_store(call.key, document["store"])
        if may_refer(call.body, document, flat=call.flat) and call.endpoint.operation not in _DATA_ONLY:
            return self.check(call)
        return None

    async def check(self, call: Call) -> None:
        """The same for a body that may refer to something. Raises GatewayError."""
        key = call.key
        assert key is not None
        own, items = references_in(call.document, of_chat=True)
        if any(kind == FILE for kind, _ in own):
            _check_word(key)
        keep_near(call, await self._references.find(key, own, items))
        # Of two equal keys, at whatever depth, a provider might take the one that was not looked at.
        call.body = orjson.dumps(call.document)


def _check_word(key: Key) -> None:
    if not key.allows_endpoint(_FILES):
        raise GatewayError(
            "endpoint_not_allowed",
            f"The body refers to a file; a key needs '{_FILES}' in its list of endpoints.",
            param="file_id",
        )
