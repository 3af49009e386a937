"""Canonical chunks as the events of OpenAI's Responses API. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming (read 2026-11). Every item is closed before the next
one begins, but a function call whose arguments are no whole JSON value yet: a provider that sends parallel calls in
turns loses nothing.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json
from gateway.wire.responses_calls import Call, Calls
from gateway.wire.responses_output import (
    INCOMPLETE,
    logprobs_of,
    put_end,
    put_failure,
    response_id_of,
    skeleton,
    tail_of,
)
from gateway.wire.responses_reasoning import detail_text
from gateway.wire.responses_stream_items import CallItem, EventWriter, Item, MessageItem, ReasoningItem, Silence
from gateway.wire.usage import Usage


class ResponseEncoder:
    """One stream. `response` is the finished response object, to be stored; None until `finish` or `fail`.

    `document` is the client's request. `response_id` is used instead of the one that comes from the answer's id.
    """

    __slots__ = (
        "_call",
        "_calls",
        "_created",
        "_document",
        "_finish_reason",
        "_held",
        "_id",
        "_items",
        "_message",
        "_reasoning",
        "_skeleton",
        "_takes_detail_text",
        "_tier",
        "_writer",
        "response",
    )

    def __init__(self, document: Document, response_id: str | None = None, writer: Silence | None = None) -> None:
        self._document = document
        self._id = response_id
        self._writer = EventWriter() if writer is None else writer
        self._skeleton: Document | None = None
        self._items: list[Item] = []
        self._message: MessageItem | None = None
        self._reasoning: ReasoningItem | None = None
        self._calls = Calls()
        self._call: Call | None = None
        self._held: list[Document] = []
        self._takes_detail_text = True
        self._finish_reason: str | None = None
        self._tier: object = None
        self.response: Document | None = None

    def encode(self, chunk: Document) -> bytes:
        """The events that this chunk becomes; maybe none yet."""
        if self.response is not None:
            return b""
        if self._skeleton is None:
            self._begin(chunk)
        if chunk.get("service_tier") is not None:
            self._tier = chunk["service_tier"]
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                self._add_choice(choice)
        return self._writer.take()

    def finish(self, usage: Usage | None) -> bytes:
        """The events that end a complete stream, with what it used."""
        if self.response is not None:
            return b""
        response = self._begin({}) if self._skeleton is None else self._skeleton
        status = "incomplete" if self._finish_reason in INCOMPLETE else "completed"
        self._open_waiting_calls()
        if self._held:
            self._close_open()
            self._reason(None, self._held)
        if not self._items:
            self._open_message().add_text("", [])
        response["output"] = [item.close(status) for item in self._items]
        put_end(response, self._finish_reason, usage, self._tier)
        self._writer.add(f"response.{response['status']}", {"response": response})
        self.response = response
        return self._writer.take()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """The events that end a stream which cannot be finished: `error`, then `response.failed`."""
        if self.response is not None:
            return b""
        response = self._begin({"id": request_id}) if self._skeleton is None else self._skeleton
        self._writer.add("error", error_fields(error, request_id))
        response["output"] = [item.cut_off() for item in self._items]
        put_failure(response, error)
        self._writer.add("response.failed", {"response": response})
        self.response = response
        return self._writer.take()

    def _begin(self, chunk: Document) -> Document:
        self._id = self._id or response_id_of(chunk.get("id"))
        response = skeleton(self._document, self._id, chunk.get("created"), chunk.get("model"))
        self._skeleton = response
        self._writer.add("response.created", {"response": response})
        self._writer.add("response.in_progress", {"response": response})
        return response

    def _add_choice(self, choice: Document) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._add_reasoning(delta)
            self._add_said(delta, choice.get("logprobs"))
            calls = delta.get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, dict):
                    self._add_call(call)
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self._finish_reason = reason

    # --- what it thought ----------------------------------------------------------------------------

    def _add_reasoning(self, delta: Document) -> None:
        given = delta.get("reasoning_details")
        details = [detail for detail in given if isinstance(detail, dict)] if isinstance(given, list) else []
        text = delta.get("reasoning_content")
        if not isinstance(text, str):
            text = delta.get("reasoning")  # OpenRouter's and Groq's name for it
        if isinstance(text, str) and text:
            self._takes_detail_text = False
        else:
            text = "".join(map(detail_text, details)) if self._takes_detail_text else None
        if text:
            self._reason(text, details)
        elif details and (self._reasoning is not None or not self._items):
            self._reason(None, details)
        else:  # a signature of what was said: it must not cut the text in two
            self._held += details

    def _reason(self, text: str | None, details: list[Document]) -> None:
        if self._reasoning is None:
            self._close_open()
            wish = self._document.get("reasoning") or {}
            is_summary = bool(wish.get("summary") or wish.get("generate_summary"))
            self._reasoning = ReasoningItem(self._writer, *self._place("rs"), is_summary=is_summary)
            self._items.append(self._reasoning)
        if text:
            self._reasoning.add_text(text)
        for detail in details:
            self._reasoning.add_detail(detail)

    # --- what it said -------------------------------------------------------------------------------

    def _add_said(self, delta: Document, logprobs: object) -> None:
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._open_message().add_text(text, logprobs_of(logprobs))
        elif logprobs is not None and self._message is not None and (tokens := logprobs_of(logprobs)):
            self._message.add_text("", tokens)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._open_message().add_refusal(refusal)
        annotations = delta.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else ():
            self._open_message().add_annotation(annotation)

    def _open_message(self) -> MessageItem:
        if self._message is None:
            self._close_open()
            self._message = MessageItem(self._writer, *self._place("msg"))
            self._items.append(self._message)
        return self._message

    # --- what it calls ------------------------------------------------------------------------------

    def _add_call(self, piece: Document) -> None:
        call = self._calls.take(piece)
        if call.item is not None:
            if call.item.document is None:
                call.item.add_arguments(call.take_arguments())
        elif call.name:
            self._open_call(call)

    def _open_call(self, call: Call) -> None:
        self._close_open()
        item_id, index = self._place("fc")
        call_id = call.call_id or f"call_{tail_of(self._id or '')}_{index}"
        call.item = CallItem(self._writer, item_id, index, call_id, call.name)
        self._items.append(call.item)
        self._call = call
        call.item.add_arguments(call.take_arguments())

    def _open_waiting_calls(self) -> None:
        for call in self._calls.all:
            if call.item is None:
                self._open_call(call)

    # --- both ---------------------------------------------------------------------------------------

    def _place(self, prefix: str) -> tuple[str, int]:
        index = len(self._items)
        return f"{prefix}_{tail_of(self._id or '')}_{index}", index

    def _close_open(self) -> None:
        if self._reasoning is not None:
            self._reasoning.close("completed")
            self._reasoning = None
        if self._message is not None:
            self._message.close("completed")
            self._message = None
        call, self._call = self._call, None
        if call is not None and call.item is not None and call.is_whole():
            call.item.close("completed")


def error_fields(error: GatewayError, request_id: str) -> Document:
    """The fields of OpenAI's `error` event; `error`, which SDKs look for, is the gateway's error object."""
    shown = {"message": error.message, "type": error.failure.type, "param": error.param, "code": error.shown_code}
    return {
        "code": error.shown_code,
        "message": error.message,
        "param": error.param,
        "error": {**shown, "request_id": request_id},
    }


def whole_response(answer: Document, usage: Usage | None, document: Document, response_id: str | None) -> Document:
    """A canonical answer as a response object: what a stream of it in one chunk comes to."""
    encoder = ResponseEncoder(document, response_id, Silence())
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if isinstance(message, dict) and isinstance(calls, list):
        numbered = [{**call, "index": index} for index, call in enumerate(calls) if isinstance(call, dict)]
        message = {**message, "tool_calls": numbered}
    choice = {"index": 0, "delta": message, "finish_reason": first.get("finish_reason")}
    encoder.encode({**answer, "choices": [{**choice, "logprobs": first.get("logprobs")}]})
    encoder.finish(usage)
    assert encoder.response is not None
    return encoder.response


def response_bytes(response: Document) -> bytes:
    """A response object as a body."""
    return to_json(response)
