"""The items of a Responses stream: each knows the events that open it, add to it and close it. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming (read 2026-11). A whole answer is put together by
the same code, with a writer that writes nothing, so that both ways tell the same.
"""

from __future__ import annotations

from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json
from gateway.wire.responses_output import annotation_of
from gateway.wire.responses_reasoning import Details, pack


class Silence:
    """Writes no events."""

    __slots__ = ()

    def add(self, kind: str, fields: Document) -> None:
        """Nothing."""

    def take(self) -> bytes:
        """Nothing."""
        return b""


class EventWriter(Silence):
    """Writes events with the numbers that they have in the stream."""

    __slots__ = ("_number", "_parts")

    def __init__(self) -> None:
        self._number = 0
        self._parts: list[bytes] = []

    def add(self, kind: str, fields: Document) -> None:
        """One more event: its fields come behind its type and number."""
        payload = to_json({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        self._parts.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), payload))

    def take(self) -> bytes:
        """What has been written since it was last taken."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Item:
    """One output item. `document` is the whole of it once it is closed."""

    __slots__ = ("_index", "_writer", "document", "item_id")

    def __init__(self, writer: Silence, item_id: str, index: int) -> None:
        self._writer = writer
        self._index = index
        self.item_id = item_id
        self.document: Document | None = None

    def close(self, status: str) -> Document:
        """Write the closing events, once, and return the item; `status` is completed or incomplete."""
        if self.document is None:
            self.document = self.finished(status)
            self._writer.add("response.output_item.done", {"output_index": self._index, "item": self.document})
        return self.document

    def cut_off(self) -> Document:
        """What an item whose stream has failed had come to; no events tell of it."""
        self._writer = Silence()
        return self.close("incomplete")

    def finished(self, status: str) -> Document:
        """The whole item, the events that close its parts written."""
        raise NotImplementedError

    def _added(self, item: Document) -> None:
        self._writer.add("response.output_item.added", {"output_index": self._index, "item": item})

    def _at(self, part_name: str, part_index: int) -> Document:
        return {"item_id": self.item_id, "output_index": self._index, part_name: part_index}


class ReasoningItem(Item):
    """What the model thought: shown as a summary where the client asked for one, else as it is."""

    __slots__ = ("_details", "_is_summary", "_texts")

    def __init__(self, writer: Silence, item_id: str, index: int, *, is_summary: bool) -> None:
        super().__init__(writer, item_id, index)
        self._is_summary = is_summary
        self._texts: list[str] = []
        self._details = Details()
        item: Document = {"id": item_id, "type": "reasoning", "status": "in_progress", "summary": []}
        self._added(item if is_summary else {**item, "content": []})

    def add_text(self, text: str) -> None:
        """More of what it thought."""
        if self._is_summary:
            at, part, added = self._at("summary_index", 0), "summary_text", "response.reasoning_summary_part.added"
            delta = "response.reasoning_summary_text.delta"
        else:
            at, part, added = self._at("content_index", 0), "reasoning_text", "response.content_part.added"
            delta = "response.reasoning_text.delta"
        if not self._texts:
            self._writer.add(added, {**at, "part": {"type": part, "text": ""}})
        self._texts.append(text)
        self._writer.add(delta, {**at, "delta": text})

    def add_detail(self, detail: Document) -> None:
        """A canonical detail, or a piece of one, to be sent back one day."""
        self._details.add(detail)

    def finished(self, status: str) -> Document:
        """The whole item, the events that close its parts written."""
        text = "".join(self._texts)
        item: Document = {"id": self.item_id, "type": "reasoning", "summary": [], "status": status}
        if self._is_summary and text:
            at, part = self._at("summary_index", 0), {"type": "summary_text", "text": text}
            self._writer.add("response.reasoning_summary_text.done", {**at, "text": text})
            self._writer.add("response.reasoning_summary_part.done", {**at, "part": part})
            item["summary"] = [part]
        elif text:
            at, part = self._at("content_index", 0), {"type": "reasoning_text", "text": text}
            self._writer.add("response.reasoning_text.done", {**at, "text": text})
            self._writer.add("response.content_part.done", {**at, "part": part})
            item["content"] = [part]
        item["encrypted_content"] = pack(self._details.all) if self._details.all else None
        return item


class MessageItem(Item):
    """What the model said."""

    __slots__ = ("_annotations", "_content", "_length", "_logprobs", "_part", "_texts")

    def __init__(self, writer: Silence, item_id: str, index: int) -> None:
        super().__init__(writer, item_id, index)
        self._content: list[Document] = []
        self._part: str | None = None
        self._clear()
        self._added(
            {"id": item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []},
        )

    def _clear(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._annotations: list[Document] = []
        self._logprobs: list[Document] = []

    def add_text(self, text: str, logprobs: list[Document]) -> None:
        """More text; an empty one opens a part for what else belongs to it."""
        at = self._open("output_text")
        self._logprobs += logprobs
        if text:
            self._texts.append(text)
            self._length += len(text)
            self._writer.add("response.output_text.delta", {**at, "delta": text, "logprobs": logprobs})

    def add_refusal(self, text: str) -> None:
        """More of a refusal."""
        at = self._open("refusal")
        self._texts.append(text)
        self._writer.add("response.refusal.delta", {**at, "delta": text})

    def add_annotation(self, canonical: object) -> None:
        """A canonical annotation of the text; what is none is left out."""
        if annotation_of(canonical, 0) is None:
            return
        at = self._open("output_text")
        annotation = annotation_of(canonical, self._length)
        assert annotation is not None
        fields = {**at, "annotation_index": len(self._annotations), "annotation": annotation}
        self._writer.add("response.output_text.annotation.added", fields)
        self._annotations.append(annotation)

    def finished(self, status: str) -> Document:
        """The whole item, the events that close its parts written."""
        self._close_part()
        return {
            "id": self.item_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": self._content,
        }

    def _open(self, part: str) -> Document:
        if self._part != part:
            self._close_part()
            self._part = part
            at = self._at("content_index", len(self._content))
            empty: Document = {"type": part, "refusal": ""}
            if part == "output_text":
                empty = {"type": part, "annotations": [], "logprobs": [], "text": ""}
            self._writer.add("response.content_part.added", {**at, "part": empty})
            return at
        return self._at("content_index", len(self._content))

    def _close_part(self) -> None:
        if self._part is None:
            return
        at = self._at("content_index", len(self._content))
        text = "".join(self._texts)
        if self._part == "refusal":
            part: Document = {"type": "refusal", "refusal": text}
            self._writer.add("response.refusal.done", {**at, "refusal": text})
        else:
            annotations, logprobs = self._annotations, self._logprobs
            part = {"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}
            self._writer.add("response.output_text.done", {**at, "text": text, "logprobs": logprobs})
        self._writer.add("response.content_part.done", {**at, "part": part})
        self._content.append(part)
        self._part = None
        self._clear()


class CallItem(Item):
    """A function that the model calls."""

    __slots__ = ("_arguments", "_call_id", "_name")

    def __init__(self, writer: Silence, item_id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(writer, item_id, index)
        self._call_id = call_id
        self._name = name
        self._arguments: list[str] = []
        self._added(self._item("", "in_progress"))

    @property
    def ends_object(self) -> bool:
        """Might the arguments be whole?"""
        return bool(self._arguments) and self._arguments[-1].rstrip().endswith("}")

    @property
    def arguments(self) -> str:
        """The arguments as far as they have come."""
        return "".join(self._arguments)

    def add_arguments(self, piece: str) -> None:
        """More of the arguments' JSON."""
        if piece:
            self._arguments.append(piece)
            self._writer.add(
                "response.function_call_arguments.delta",
                {"item_id": self.item_id, "output_index": self._index, "delta": piece},
            )

    def finished(self, status: str) -> Document:
        """The whole item, the events that close its parts written."""
        arguments = self.arguments
        self._writer.add(
            "response.function_call_arguments.done",
            {"item_id": self.item_id, "output_index": self._index, "name": self._name, "arguments": arguments},
        )
        return self._item(arguments, status)

    def _item(self, arguments: str, status: str) -> Document:
        return {
            "id": self.item_id,
            "type": "function_call",
            "status": status,
            "arguments": arguments,
            "call_id": self._call_id,
            "name": self._name,
        }
