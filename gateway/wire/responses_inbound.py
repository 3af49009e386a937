"""OpenAI's Responses API for any upstream: to canonical chat and back. Pure.

`responses_request` reads the request, `responses_stream` writes answers and streams, `responses_history` says what is
to be looked up before and kept after. Formats: https://platform.openai.com/docs/api-reference/responses (read 2026-11).
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.checks import invalid, missing
from gateway.wire.dialect import Document
from gateway.wire.openai import read_json_object
from gateway.wire.responses_request import to_chat
from gateway.wire.responses_stream import ResponseEncoder, response_bytes, whole_response
from gateway.wire.usage import Usage

_MAX_MODEL_CHARS = 256
# What a request may begin with instead of an input.
_INSTEAD_OF_INPUT = ("previous_response_id", "conversation", "prompt")


class ResponsesInbound:
    """The API. `with_id` gives one whose answers have that id: what is stored needs one that nobody else has."""

    name = "responses"

    def __init__(self, response_id: str | None = None) -> None:
        self._response_id = response_id

    def with_id(self, response_id: str) -> ResponsesInbound:
        """The same for one request; its response is called `response_id`, not by the answer's id.

        Providers do not all have ids that are unique (Ollama's are numbers below a thousand).
        """
        return ResponsesInbound(response_id)

    def read_request(self, body: bytes) -> Document:
        """The client's own JSON object, checked as far as the gateway relies on it.

        It has `model` (text) and an `input` (text or a list of objects) or what stands for one; `stream` may be true.
        Raises invalid_json, missing_field or invalid_field naming it.
        """
        return self.checked(read_json_object(body))

    def checked(self, document: Document) -> Document:
        """The same for a JSON object. Raises missing_field or invalid_field."""
        model = document.get("model")
        if type(model) is not str or not model:
            raise missing("model") if model is None else invalid("model", "must be a non-empty string")
        if len(model) > _MAX_MODEL_CHARS:
            raise invalid("model", f"is longer than {_MAX_MODEL_CHARS} characters")
        _check_input(document)
        stream = document.get("stream")
        if stream is not None and type(stream) is not bool:
            raise invalid("stream", "must be true or false")
        options = document.get("stream_options")
        if options is not None and type(options) is not dict:
            raise invalid("stream_options", "must be an object")
        previous = document.get("previous_response_id")
        if previous is not None and (type(previous) is not str or not previous):
            raise invalid("previous_response_id", "must be a non-empty string")
        return document

    def canonical(self, document: Document) -> Document:
        """The same request as a canonical chat request. Raises missing_field, invalid_field or unsupported_parameter.

        `document` has been through `responses_history.resolved` where it refers to what is stored.
        """
        return to_chat(document)

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """A canonical answer as the client's body."""
        return response_bytes(self.response(answer, usage, document))

    def response(self, answer: Document, usage: Usage | None, document: Document) -> Document:
        """A canonical answer as a response object, to be stored; `render` writes it."""
        return whole_response(answer, usage, document, self._response_id)

    def encoder(self, document: Document) -> ResponseEncoder:
        """For one stream. `encoder.response` is the response object once it has ended."""
        return ResponseEncoder(document, self._response_id)

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """A failure as OpenAI's error object."""
        return error.body(request_id)


def _check_input(document: Document) -> None:
    given = document.get("input")
    if given is None:
        if all(document.get(name) is None for name in _INSTEAD_OF_INPUT):
            raise missing("input")
        return
    if type(given) is str:
        return
    if type(given) is not list:
        raise invalid("input", "must be a string or an array")
    for index, item in enumerate(given):
        if type(item) is not dict:
            raise invalid(f"input[{index}]", "must be an object")


INBOUND: ResponsesInbound = ResponsesInbound()
