"""What bytes are, whatever their sender calls them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.media_types import FILES, IMAGES, TEXTS, declared_type, may_be, sniff

PNG = b"\x89PNG\r\n\x1a\n...."
BODIES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0..JFIF",
    "image/gif": b"GIF89a....",
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "application/pdf": b"%PDF-1.7\n",
    "audio/mpeg": b"ID3\x04...",
    "audio/wav": b"RIFF\x10\0\0\0WAVEfmt ",
}


@pytest.mark.parametrize("media_type", BODIES)
@pytest.mark.parametrize("declared", ["", "application/octet-stream", None])
def test_a_known_beginning_says_what_it_is(media_type: str, declared: str | None) -> None:
    assert sniff(BODIES[media_type], media_type if declared is None else declared) == media_type


@pytest.mark.parametrize(
    ("body", "declared", "found"),
    [
        (PNG, "image/jpg", "image/png"),
        (PNG, "text/html", None),
        (PNG, "application/pdf", None),
        (b"%PDF-1.4", "image/png", None),
        (b"%PDF-1.4", "application/pdf", "application/pdf"),
        (b"<svg/>", "image/svg+xml", None),
        (b"MZ\x90", "image/png", None),
        (b"", "image/png", None),
        (b"a,b\n1,2", "text/csv", "text/csv"),
        (b"a,b\n1,2", "", None),
        (b"a\0b", "text/plain", None),
        (b"\xff\xfe\0", "text/plain", None),
        (b"RIFF\x10\0\0\0AVI ", "", None),
        (b"RIFF", "image/webp", None),
    ],
)
def test_a_sender_is_believed_only_as_far_as_the_bytes_agree(body: bytes, declared: str, found: str | None) -> None:
    assert sniff(body, declared) == found


def test_a_content_type_is_read_without_its_parameters() -> None:
    assert declared_type(b"Text/Plain; charset=utf-8") == "text/plain"
    assert declared_type(b"application/x-pdf") == "application/pdf"
    assert declared_type(b"") == ""
    assert declared_type(b"\xff/\xff") == "\xff/\xff"


@given(st.binary(max_size=64), st.sampled_from([*sorted(FILES), "", "application/octet-stream", "text/html"]))
def test_any_bytes_are_one_of_the_known_kinds_or_none(body: bytes, declared: str) -> None:
    found = sniff(body, declared)
    assert found is None or (found in FILES and may_be(declared, found))


def test_an_unknown_kind_is_never_taken_for_text() -> None:
    assert not any(may_be("", text) for text in TEXTS)
    assert all(may_be("", image) for image in IMAGES)
