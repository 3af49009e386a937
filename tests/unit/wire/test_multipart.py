"""Forms, read in any pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.multipart import MAX_HEADER_BYTES, MAX_PARTS, Form, boundary_of

WATCHED = ("model", "stream")


def part(name: str, value: bytes, filename: str | None = None, more: bytes = b"") -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    return b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n%b\r\n%b\r\n' % (
        name.encode(),
        shown.encode(),
        more,
        value,
    )


def read(body: bytes, cuts: list[int] | None = None) -> Form:
    form = Form(b"b", WATCHED)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts or []), len(body)]
    for start, end in pairwise(edges):
        form.feed(body[start:end])
    form.finish()
    return form


GOOD = (
    part("model", b"gpt-4o") + part("file", b"a\r\n--\r\n--c\r\r\n", "x.wav") + part("stream", b"true") + b"--b--\r\n"
)


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_any_split_of_a_form_reads_the_same(cuts: list[int]) -> None:
    form = read(GOOD, cuts)
    assert {name: field.value for name, field in form.fields.items()} == {"model": "gpt-4o", "stream": "true"}
    for field in form.fields.values():
        assert GOOD[field.start : field.end].decode() == field.value
    assert GOOD[form.first_file_at :].startswith(b"a\r\n--")
    assert form.size == len(GOOD)


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0, max_value=10_000), max_size=10))
def test_any_file_content_is_passed_over(content: bytes, cuts: list[int]) -> None:
    body = part("file", content.replace(b"--b", b""), "f") + part("model", b"m") + b"--b--"
    assert read(body, cuts).fields["model"].value == "m"


@given(st.binary(max_size=400))
def test_garbage_is_refused_and_nothing_else_happens(garbage: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        read(garbage)
    assert raised.value.status == 400


@given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.integers(min_value=0, max_value=255))
def test_a_changed_byte_never_moves_the_model(at: int, octet: int) -> None:
    body = bytearray(GOOD)
    body[at] = octet
    try:
        form = read(bytes(body))
    except GatewayError:
        return
    field = form.fields.get("model")
    assert field is None or bytes(body[field.start : field.end]).decode() == field.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n",
        b"\r\n--b--",
        b"preamble\r\n--b--",
        GOOD[:-6],
        GOOD + b"x",
        GOOD + GOOD,
        b"--bb--\r\n",
        b"--b \r\n" + GOOD,
        b"--b\n" + GOOD[5:],
        b"--b\r\n\r\nno headers\r\n--b--",
        b"--b\r\ncontent-type: text/plain\r\n\r\nno name\r\n--b--",
        b"--b\r\ncontent-disposition: attachment; name=a\r\n\r\nx\r\n--b--",
        b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--",
        b"--b\r\ncontent-disposition: form-data; name=a; name=model\r\n\r\nx\r\n--b--",
        b"--b\r\ncontent-disposition: form-data; name=a; name*=utf-8''model\r\n\r\nx\r\n--b--",
        b'--b\r\ncontent-disposition: form-data; name="mod\\el"\r\n\r\nx\r\n--b--',
        b'--b\r\ncontent-disposition: form-data; name="%6dodel"\r\n\r\nx\r\n--b--',
        b"--b\r\ncontent-disposition: form-data;\r\n name=model\r\n\r\nx\r\n--b--",
        b"--b\r\ncontent-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b\r\n\r\nx\r\n--b--",
        part("a", b"x", more=b"content-type: multipart/mixed; boundary=c\r\n") + b"--b--",
        part("a", b"x", more=b"content-transfer-encoding: base64\r\n") + b"--b--",
        part("model", b"x") + part("model", b"x") + b"--b--",
        part("model", b"x", "file.txt") + b"--b--",
        part("model", b"x" * 257) + b"--b--",
        part("model", b"\xff") + b"--b--",
        b"--b\r\n" + b"a: b\r\n" * MAX_HEADER_BYTES,
        part("a", b"x") * (MAX_PARTS + 1) + b"--b--",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        read(body)
    assert raised.value.status == 400


@pytest.mark.parametrize("name", ['"x\\".wav"', "x.wav", "\"c:\\dir\\x\"; filename*=utf-8''x"])
def test_file_names_may_be_odd(name: str) -> None:
    head = f"--b\r\ncontent-disposition: form-data; name=file; filename={name}\r\n\r\n"
    assert read(head.encode() + b"x\r\n--b--").first_file_at == len(head)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
    ],
)
def test_the_boundary_is_read(content_type: bytes, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"", 415),
        (b"application/json", 415),
        (b"multipart/mixed; boundary=a", 415),
        (b"multipart/form-data", 400),
        (b"multipart/form-data; boundary=", 400),
        (b"multipart/form-data; boundary=a; boundary=b", 400),
        (b'multipart/form-data; boundary="a "', 400),
        (b"multipart/form-data; boundary=" + b"a" * 71, 400),
    ],
)
def test_a_bad_content_type_is_refused(content_type: bytes, status: int) -> None:
    with pytest.raises(GatewayError) as raised:
        boundary_of(content_type)
    assert raised.value.status == status
