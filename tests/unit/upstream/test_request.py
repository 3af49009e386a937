"""A rendered head is one request, whatever it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.upstream.request import absolute_form, render_head


def test_a_head_is_its_request_line_its_headers_and_a_blank_line() -> None:
    head = render_head(b"POST", b"/v1/x?y=%20", [(b"host", b"a:1"), (b"x-empty", b""), (b"x-tab", b"a\tb \xff")])
    assert head == b"POST /v1/x?y=%20 HTTP/1.1\r\nhost: a:1\r\nx-empty: \r\nx-tab: a\tb \xff\r\n\r\n"


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\x00", b"\r\n", b"a\r\nb: c"])
def test_line_ends_and_nul_are_refused_everywhere(bad: bytes) -> None:
    for method, path, headers in (
        (b"GET" + bad, b"/", []),
        (b"GET", b"/" + bad, []),
        (b"GET", b"/", [(b"x" + bad, b"v")]),
        (b"GET", b"/", [(b"x", b"secret" + bad)]),
    ):
        with pytest.raises(GatewayError) as raised:
            render_head(method, path, headers)
        assert raised.value.code == "invalid_request"
        assert "secret" not in raised.value.message


@pytest.mark.parametrize("path", [b"", b"/a b", b"/a HTTP/1.1", b"/\xc3\xa4", b"/\x7f"])
def test_a_path_that_would_not_stay_one_word_is_refused(path: bytes) -> None:
    with pytest.raises(GatewayError):
        render_head(b"GET", path, [])


@given(st.binary(), st.binary(), st.lists(st.tuples(st.binary(), st.binary()), max_size=3))
def test_whatever_is_rendered_has_exactly_the_lines_that_were_asked_for(
    method: bytes, path: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        head = render_head(method, path, headers)
    except GatewayError:
        return
    assert head.count(b"\n") == len(headers) + 2
    assert head.count(b"\r\n") == len(headers) + 2
    assert head.endswith(b"\r\n\r\n")


def test_the_absolute_form_names_the_origin_and_carries_the_proxys_credentials_only() -> None:
    head = render_head(b"POST", b"/v1/x?u=http://other/", [(b"host", b"a:1")])
    assert absolute_form(head, b"http://a:1", None) == (
        b"POST http://a:1/v1/x?u=http://other/ HTTP/1.1\r\nhost: a:1\r\n\r\n"
    )
    assert absolute_form(head, b"http://a:1", b"Basic eA==").split(b"\r\n")[1] == b"proxy-authorization: Basic eA=="
