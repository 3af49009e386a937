"""What an answer of Gemini used: https://ai.google.dev/api/generate-content#UsageMetadata (read 2026-11)."""

from __future__ import annotations

from gateway.wire.dialect import Document
from gateway.wire.usage import Usage

_MODALITIES = {"AUDIO": "audio", "IMAGE": "image"}


def read_usage(metadata: object) -> Usage | None:
    """Usage of a `usageMetadata`; None where it counts nothing.

    Prompt tokens include cached ones; what tools brought in and the thoughts are counted beside prompt and answer.
    """
    if not isinstance(metadata, dict):
        return None
    thoughts = _count(metadata, "thoughtsTokenCount")
    usage = Usage(
        prompt=_count(metadata, "promptTokenCount") + _count(metadata, "toolUsePromptTokenCount"),
        completion=_count(metadata, "candidatesTokenCount") + thoughts,
        cached=_count(metadata, "cachedContentTokenCount"),
        reasoning=thoughts,
    )
    if not usage.prompt and not usage.completion:
        return None
    for kind, count in _by_modality(metadata.get("promptTokensDetails")):
        setattr(usage, f"{kind}_in", getattr(usage, f"{kind}_in") + count)
    for kind, count in _by_modality(metadata.get("candidatesTokensDetails")):
        setattr(usage, f"{kind}_out", getattr(usage, f"{kind}_out") + count)
    return usage


def _by_modality(details: object) -> list[tuple[str, int]]:
    if not isinstance(details, list):
        return []
    found = []
    for detail in details:
        kind = detail.get("modality") if isinstance(detail, dict) else None
        if isinstance(kind, str) and kind in _MODALITIES:
            found.append((_MODALITIES[kind], _count(detail, "tokenCount")))
    return found


def _count(counts: Document, name: str) -> int:
    value = counts.get(name)
    return value if type(value) is int and 0 <= value < 2**53 else 0
