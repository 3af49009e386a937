"""What is asked for?"""

from __future__ import annotations

from typing import ClassVar

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.stage import Stage
from gateway.wire.flat import is_flat
from gateway.wire.openai import read_request


class ReadRequest(Stage):
    """Parse the body, once, and refuse what no provider could answer. After the key: a stranger's body is not read."""

    name: ClassVar[str] = "read_request"
    switchable: ClassVar[bool] = False

    def on_request(self, call: Call) -> None:
        kind = call.headers.get(b"content-type")
        if kind is not None and kind != b"application/json":
            check_content_type(kind)
        coding = call.headers.get(b"content-encoding")
        if coding and coding.lower() != b"identity":
            raise GatewayError("unsupported_media_type", "A compressed body (content-encoding) is not supported.")
        inbound = call.endpoint.inbound
        if inbound is None:
            document = read_request(call.endpoint, call.body)
            call.flat = is_flat(call.body, document)
        else:
            document = inbound.read_request(call.body)
        call.document = document
        call.asked_model = document["model"]
        call.stream = document.get("stream") is True


def check_content_type(kind: bytes) -> None:
    """Raises unsupported_media_type for anything but JSON."""
    essence = kind.partition(b";")[0].strip().lower()
    if essence != b"application/json" and not (essence.startswith(b"application/") and essence.endswith(b"+json")):
        shown = essence[:100].decode("ascii", "replace")
        raise GatewayError(
            "unsupported_media_type", f"The body must be sent as 'content-type: application/json', not '{shown}'."
        )
