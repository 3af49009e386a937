"""Speech of Gemini as canonical `audio`: https://ai.google.dev/gemini-api/docs/speech-generation (read 2026-11)."""

from __future__ import annotations

import base64
import binascii

from gateway.errors import GatewayError
from gateway.wire.dialect import Document

_SAMPLE_RATE_HZ = 24000
_MAX_WAV_BYTES = 2**32 - 100


def whole_audio(document: Document, audio: Document) -> Document:
    """Speech as it was asked for: Gemini's is bare 16-bit samples at 24 kHz, one channel."""
    wanted = document.get("audio")
    if isinstance(wanted, dict) and wanted.get("format") == "wav":
        samples = _decoded(audio["data"])
        audio["data"] = base64.b64encode(_wav_header(len(samples)) + samples).decode()
    return {**audio, "transcript": ""}


def joined(first: str, second: str) -> str:
    """Two pieces of base64 as one. Raises upstream_bad_answer where one is none."""
    return base64.b64encode(_decoded(first) + _decoded(second)).decode()


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise GatewayError("upstream_bad_answer", "The provider's audio is not base64.") from None


def _wav_header(size: int) -> bytes:
    """The 44 bytes before `size` bytes of 16-bit mono samples at 24 kHz (RIFF, format 1)."""
    size = min(size, _MAX_WAV_BYTES)
    numbers = ((16, 4), (1, 2), (1, 2), (_SAMPLE_RATE_HZ, 4), (_SAMPLE_RATE_HZ * 2, 4), (2, 2), (16, 2))
    form = b"".join(number.to_bytes(width, "little") for number, width in numbers)
    head = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + form
    return head + b"data" + size.to_bytes(4, "little")
