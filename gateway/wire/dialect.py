"""What a dialect is: one provider's format, to and from the canonical form, which is OpenAI's chat format.

The canonical form goes beyond OpenAI's in a few fields that others have made usual:

- A message's `reasoning_content` is what the model thought, as text (DeepSeek's field); `reasoning_details` is the
  same with what is needed to send it back, in OpenRouter's form: items `{"type": "reasoning.text", "text",
  "signature"}`, `{"type": "reasoning.encrypted", "data"}` or `{"type": "reasoning.summary", "summary"}`, each with
  `format` (whose it is, e.g. `anthropic-claude-v1`), `index` and, where it belongs to a tool call, that call's `id`
  (https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11). A dialect sends back only its own `format`.
- `cache_control` on a content part, message or tool marks the end of a prompt prefix to cache (Anthropic's field);
  `thinking` is `{"type": "enabled", "budget_tokens"}` or `{"type": "disabled"}`; `top_k` is what it says.
- A `file` part may have a `file_url`; a `tool` message may have `is_error: true` and parts as its content.
- A choice's `native_finish_reason` is the provider's own word for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.wire.usage import Usage

Document = dict[str, Any]
HeaderLines = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Ask:
    """One request for one target. `document` is canonical, checked, and never changed: others read it too.

    `operation` is chat, embeddings or rerank; `model` is the provider's own name, `shown_model` the one that the
    client asked for and is to see. `answer_id` and `created` (seconds since 1970) are for answers that bring none.
    `options` are the account's: api_version, region, …. `policy` says for a field what to do where the provider
    lacks it: `drop` or `refuse`, in place of the default (`lacking.py`). `answer_headers` (names in lower case) are
    those of the whole answer that `decode` is given, for what some say only there.
    """

    operation: str
    document: Document
    model: str
    shown_model: str
    answer_id: str
    created: int
    stream: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)
    answer_headers: Sequence[tuple[bytes, bytes]] = ()


@dataclass(slots=True)
class Encoded:
    """A request in a provider's format: POST `path` (behind the account's base path, with its query) with `body`.

    `headers` come on top of the account's; `dropped` are the fields that were left out.
    """

    path: str
    body: bytes
    headers: HeaderLines = ()
    dropped: Sequence[str] = ()


class StreamDecoder(Protocol):
    """A provider's stream as canonical chunks. After `done` or `error` nothing more is read.

    `usage` is what has been reported so far; no chunk carries it. A decoder never raises.
    """

    usage: Usage | None
    done: bool
    error: GatewayError | None

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read, however the bytes were split."""

    def finish(self) -> list[Document]:
        """The body has ended: what can be said only now. `done` stays false where the stream was cut short."""


class Dialect(Protocol):
    """One provider's format. Pure: no await, clock or network.

    `operations` are those it has; `choices` says whether it gives several answers at once (`n`), also in streams;
    `image_urls` says whether images by URL come to `encode` as they are, for the provider fetches them itself, or takes
    none and `encode` refuses them before they were fetched; else they come as data URIs. `file_urls` is the same for
    files.
    """

    name: str
    operations: frozenset[str]
    choices: bool
    image_urls: bool
    file_urls: bool

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError (`unsupported_parameter`, `invalid_field`) naming the field."""

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer of a whole 2xx body, and what it used.

        Raises upstream_bad_answer for what is no answer, and what an error in it means.
        """

    def decoder(self, ask: Ask) -> StreamDecoder:
        """A new decoder for one stream. Its chunks are complete: id, object, created, model, choices."""

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""

    def read_models(self, body: bytes) -> list[str]:
        """The names in the provider's list of models. Raises upstream_bad_answer."""
