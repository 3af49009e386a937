"""An answer as it is kept: its head as one line of JSON, then its bytes."""

from __future__ import annotations

from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got; of a stream, all of its bytes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def pack(self) -> bytes:
        """As bytes, for `unpack`."""
        lines = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        return orjson.dumps([self.status, lines], option=orjson.OPT_APPEND_NEWLINE) + self.body

    @classmethod
    def unpack(cls, packed: bytes) -> Answer:
        """What was packed."""
        head, _, body = packed.partition(b"\n")
        status, lines = orjson.loads(head)
        return cls(status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines], body)
