"""How bodies are cut for the log."""

from __future__ import annotations

import pytest

from gateway.server.body_log import MAX_BYTES, _text


@pytest.mark.parametrize("inside", [1, 5, 29])
def test_a_secret_that_the_cut_goes_through_is_not_logged_in_part(inside: int) -> None:
    secret = "Zq7-a-secret-of-thirty-letters"
    body = b'"' + b"x" * (MAX_BYTES - inside - 2) + b'"' + secret.encode() + b'" and more'
    text = _text(body)
    assert text.endswith('x"…')
    assert len(text) <= MAX_BYTES + 1


def test_a_body_that_is_not_cut_is_logged_whole() -> None:
    assert _text(b"x" * MAX_BYTES) == "x" * MAX_BYTES
