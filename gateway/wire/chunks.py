"""Canonical answers as dialects build them: chunks of a stream, whole answers, and usage as OpenAI writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.wire.dialect import Ask, Document
from gateway.wire.usage import Usage

# Upstream words for the end of an answer are mapped to these by a table in each dialect.
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})


class Chunks:
    """Makes the chunks of one stream; `id` and `model` may be set once the provider has named its own."""

    __slots__ = ("_created", "id", "model")

    def __init__(self, ask: Ask) -> None:
        self.id = ask.answer_id
        self.model = ask.shown_model
        self._created = ask.created

    def delta(self, delta: Document, index: int = 0, *, finish_reason: str | None = None, **choice: Any) -> Document:
        """A chunk that adds `delta` to choice `index`; `choice` are further fields of the choice (logprobs)."""
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.model,
            "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason, **choice}],
        }


def completion(ask: Ask, choices: Sequence[Document], usage: Usage | None, *, answer_id: str | None = None) -> Document:
    """A whole chat completion; `usage` is written out as OpenAI does."""
    document: Document = {
        "id": answer_id or ask.answer_id,
        "object": "chat.completion",
        "created": ask.created,
        "model": ask.shown_model,
        "choices": list(choices),
    }
    if usage is not None:
        document["usage"] = usage_document(usage)
    return document


def usage_document(usage: Usage) -> Document:
    """Usage in the form of OpenAI's chat completions; details only where there is something to tell."""
    document: Document = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    prompt = {
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "audio_tokens": usage.audio_in,
        "image_tokens": usage.image_in,
    }
    completion_ = {
        "reasoning_tokens": usage.reasoning,
        "audio_tokens": usage.audio_out,
        "image_tokens": usage.image_out,
    }
    if any(prompt.values()):
        document["prompt_tokens_details"] = {name: count for name, count in prompt.items() if count}
    if any(completion_.values()):
        document["completion_tokens_details"] = {name: count for name, count in completion_.items() if count}
    return document
