"""What is masked, and what is not."""

from __future__ import annotations

import pytest

from gateway.server.redact import Redactor


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key sk-kc-0123456789abcdefABCDEF here", "0123456789"),
        ("sk-ant-api03-abcdefgh_ijkl", "abcdefgh"),
        ("Authorization: Bearer abc123.def", "abc123"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'authorization': 'Bearer tok-tok-tok'}", "tok-tok"),
        ("b'x-api-key': b'0a1b2c3d4e'", "0a1b2c3d4e"),
        ('"api_key": "0a1b2c3d4e"', "0a1b2c3d4e"),
        ("?api-key=0a1b2c3d4e&x=1", "0a1b2c3d4e"),
        ("password=correct-horse", "correct-horse"),
        ("postgresql://user:p4ss:w0rd@db/x", "p4ss"),
        ("redis://:p4ssw0rd@host", "p4ssw0rd"),
        ("gsk_abcdefghij0123", "abcdefghij"),
        ("hf_abcdefghij0123", "abcdefghij"),
        ("AIzaSyA0123456789012345678901234567890", "SyA012345"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "hbGciOi"),
    ],
)
def test_credentials_are_masked(text: str, secret: str) -> None:
    masked = Redactor()(text)
    assert secret not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "request 0193f0a2-1111-7000-8000-000000000000 finished",
        "model gpt-4o-mini, 12 prompt tokens, max_tokens: 16, total_tokens=40",
        "GET https://api.openai.com:443/v1/models",
        "risk-free task-list desk-organiser",
        "key_id=k1",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor()(text) == text


def test_configured_secrets_are_masked_the_longest_first() -> None:
    redact = Redactor(["secretive", "secretive-long", "abc"])
    assert redact("a secretive-long and secretive abc") == "a *** and *** abc"
    redact.set_secrets(["another-one"])
    assert redact("secretive another-one") == "secretive ***"


def test_what_surrounds_a_masked_value_is_kept() -> None:
    assert Redactor()("postgresql://user:pw@db/x?y=1") == "postgresql://user:***@db/x?y=1"
    assert Redactor()('{"api_key": "0a1b2c", "b": 1}') == '{"api_key": "***", "b": 1}'


@pytest.mark.parametrize(
    "text",
    [
        'key Zq"7\\odd/shape here',
        'key Zq\\"7\\\\odd/shape here',
        'key Zq\\"7\\\\odd\\/shape here',
        "?key=Zq%227%5Codd%2Fshape here",
    ],
)
def test_a_secret_is_masked_however_it_is_escaped(text: str) -> None:
    masked = Redactor(['Zq"7\\odd/shape'])(text)
    assert masked.endswith("*** here")
    assert "odd" not in masked
