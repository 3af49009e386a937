"""Who is asking?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.call import Call
from gateway.pipeline.stage import Stage, Turn
from gateway.services.keys.key import Key
from gateway.services.keys.service import Keys

_RESULTS = {
    "missing_api_key": "unknown",
    "invalid_api_key": "unknown",
    "key_store_unavailable": "error",
    "overloaded": "error",
}


class Authenticate(Stage):
    """Find the caller's key and refuse one that is unknown, expired, or not allowed this endpoint."""

    name: ClassVar[str] = "authenticate"
    switchable: ClassVar[bool] = False

    def __init__(self, keys: Keys, metrics: Metrics) -> None:
        self._keys = keys
        self._find_cached = keys.find_cached
        self._lookups = metrics.key_lookups
        self._warm = metrics.key_lookups.child("warm")

    def on_request(self, call: Call) -> Turn:
        token = read_token(call.headers)
        key = self._find_cached(token)
        if key is None:
            return self._find(call, token)
        self._warm.inc()
        self._accept(call, key)
        return None

    async def _find(self, call: Call, token: str) -> None:
        self._accept(call, await self._look_up(token))

    def _accept(self, call: Call, key: Key) -> None:
        _check_endpoint(key, call.endpoint.word or call.endpoint.name)
        call.key = key

    async def identify(self, headers: Mapping[bytes, bytes], endpoint: str) -> Key:
        """The key that `headers` carry. Raises GatewayError: 401 for no or a bad key, 403 for a closed endpoint."""
        token = read_token(headers)
        key = self._find_cached(token)
        if key is not None:
            self._warm.inc()
        else:
            key = await self._look_up(token)
        _check_endpoint(key, endpoint)
        return key

    async def admit_admin(self, headers: Mapping[bytes, bytes]) -> Key:
        """The master key or admin key that asks. Raises GatewayError: 401 for no or a bad key, 403 for any other."""
        token = read_token(headers)
        key = self._find_cached(token) or await self._look_up(token)
        if not key.is_master and key.admin_role is None:
            raise GatewayError(
                "admin_required", "The admin API needs the gateway's master key or a key with an admin role."
            )
        return key

    async def _look_up(self, token: str) -> Key:
        try:
            key = await self._keys.find(token)
        except GatewayError as error:
            self._lookups.child(_RESULTS.get(error.code, "found")).inc()
            raise
        self._lookups.child("found").inc()
        return key


def _check_endpoint(key: Key, endpoint: str) -> None:
    if not key.allows_endpoint(endpoint):
        raise GatewayError(
            "endpoint_not_allowed",
            f"This API key may not use '{endpoint}'; a key needs it in its list of endpoints.",
        )


def read_token(headers: Mapping[bytes, bytes]) -> str:
    """The key of a request: `Authorization: Bearer`, else `x-api-key`, else `api-key`; empty if there is none."""
    value = headers.get(b"authorization")
    if value is not None:
        if value.startswith(b"Bearer ") and (plain := value[7:].strip()):
            return plain.decode("latin-1")
        scheme, _, token = value.partition(b" ")
        if scheme.lower() == b"bearer" and (token := token.strip()):
            return token.decode("latin-1")
    other = headers.get(b"x-api-key") or headers.get(b"api-key")
    if not other and value and scheme.lower() != b"bearer":
        raise GatewayError("invalid_api_key", "The Authorization header must read 'Bearer <key>'.")
    return (other or b"").strip().decode("latin-1")
