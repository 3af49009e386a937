"""What kind of thing some bytes are, by what they begin with; the sender's word counts where that says nothing."""

from __future__ import annotations

IMAGES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
AUDIO = frozenset({"audio/mpeg", "audio/wav"})
# Text has no mark of its own: it is what its sender says, if it is UTF-8.
TEXTS = frozenset({"application/json", "text/csv", "text/html", "text/markdown", "text/plain", "text/xml"})
FILES = IMAGES | AUDIO | TEXTS | {"application/pdf"}

# https://mimesniff.spec.whatwg.org, section 6 (read 2026-11).
_MARKS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
# What servers say when they do not know: https://www.rfc-editor.org/rfc/rfc9110#section-8.3, and S3's default.
_UNKNOWN = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "application/binary", "application/x-download"}
)
_ALIASES = {
    "application/x-pdf": "application/pdf",
    "application/xml": "text/xml",
    "text/x-markdown": "text/markdown",
}


def declared_type(content_type: bytes) -> str:
    """The media type of a Content-Type header, in lower case and without parameters; empty for none."""
    named = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    return _ALIASES.get(named, named)


def may_be(declared: str, wanted: str) -> bool:
    """Can what its sender calls `declared` turn out to be `wanted`?

    Images and audio are often called by another name of their kind (a PNG called image/jpg): that is no lie.
    """
    if declared in _UNKNOWN:
        return wanted not in TEXTS
    if wanted.startswith(("image/", "audio/")):
        return declared.partition("/")[0] == wanted.partition("/")[0]
    return declared == wanted


def sniff(body: bytes, declared: str) -> str | None:
    """What `body` is; None where it is nothing known, or not what its sender calls it."""
    found = _marked(body)
    if found is None:
        return declared if declared in TEXTS and _is_text(body) else None
    return found if may_be(declared, found) else None


def _marked(body: bytes) -> str | None:
    if body[:4] == b"RIFF":
        return _RIFF.get(body[8:12])
    return next((media_type for mark, media_type in _MARKS if body.startswith(mark)), None)


def _is_text(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False
