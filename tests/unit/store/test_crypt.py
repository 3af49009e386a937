"""Secrets at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.crypt import CannotOpen, Cipher

NOW, BEFORE, OTHER = b"n" * 32, b"b" * 32, b"o" * 32


@given(st.binary(max_size=500), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_own_context_only(plain: bytes, context: str) -> None:
    cipher = Cipher([NOW])
    sealed = cipher.seal(plain, context)
    assert cipher.open(sealed, context) == (plain, True)
    with pytest.raises(CannotOpen):
        cipher.open(sealed, context + "x")


def test_the_key_before_opens_and_says_so_and_another_does_not() -> None:
    sealed = Cipher([BEFORE]).seal(b"s3cret", "t:1")
    assert Cipher([NOW, BEFORE]).open(sealed, "t:1") == (b"s3cret", False)
    for keys in ([NOW], [NOW, OTHER]):
        with pytest.raises(CannotOpen):
            Cipher(keys).open(sealed, "t:1")


def test_the_same_secret_is_never_sealed_the_same() -> None:
    cipher = Cipher([NOW])
    assert len({cipher.seal(b"s3cret", "t:1") for _ in range(100)}) == 100


@given(st.data())
def test_a_bit_that_is_turned_over_is_noticed(data: st.DataObject) -> None:
    cipher = Cipher([NOW])
    sealed = bytearray(cipher.seal(b"s3cret", "t:1"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CannotOpen):
        cipher.open(bytes(sealed), "t:1")


@given(st.binary(max_size=60))
def test_any_other_bytes_cannot_be_opened(sealed: bytes) -> None:
    with pytest.raises(CannotOpen):
        Cipher([NOW, BEFORE]).open(sealed, "t:1")
