from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from gateway.services.keys.format import (
    BODY_END,
    LENGTH,
    PREFIX,
    RANDOM_DIGITS,
    checksum,
    make_token,
    maker_of,
    redact,
)
from gateway.services.keys.secret import Secret, Secrets

CURRENT = Secret.parse("the secret that is in force today")
PREVIOUS = Secret.parse("the secret that was in force before")
STRANGER = Secret.parse("the secret of some other gateway 1")
ONE = Secrets(CURRENT)
BOTH = Secrets(CURRENT, PREVIOUS)
ALPHABET = string.digits + string.ascii_letters
TOKEN = make_token(CURRENT)

bodies = st.text(ALPHABET, min_size=RANDOM_DIGITS, max_size=RANDOM_DIGITS).map(lambda digits: PREFIX + digits)


def test_tokens_are_of_one_length_and_alphabet_and_never_the_same() -> None:
    tokens = {make_token(CURRENT) for _ in range(500)}
    assert len(tokens) == 500
    assert {len(token) for token in tokens} == {LENGTH}
    assert set("".join(token.removeprefix(PREFIX) for token in tokens)) == set(ALPHABET)
    assert 62**RANDOM_DIGITS >= 2**256


def test_a_token_names_the_secret_that_made_it() -> None:
    assert maker_of(make_token(CURRENT), BOTH) is CURRENT
    assert maker_of(make_token(PREVIOUS), BOTH) is PREVIOUS
    assert maker_of(make_token(PREVIOUS), ONE) is None
    assert maker_of(make_token(STRANGER), BOTH) is None


@given(bodies)
def test_a_body_with_its_checksum_is_a_token_and_with_another_secrets_is_not(body: str) -> None:
    assert maker_of(body + checksum(body, CURRENT), ONE) is CURRENT
    assert maker_of(body + checksum(body, STRANGER), ONE) is None


@given(st.one_of(st.text(max_size=80), st.text(ALPHABET, min_size=LENGTH - 6, max_size=LENGTH - 6).map(PREFIX.__add__)))
def test_no_string_passes_but_by_construction(text: str) -> None:
    assert maker_of(text, BOTH) is None


@given(st.integers(0, LENGTH - 1), st.characters())
def test_a_token_with_any_character_replaced_is_rejected(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert (maker_of(changed, ONE) is CURRENT) == (changed == TOKEN)


@given(st.integers(0, LENGTH), st.text(min_size=1, max_size=3))
def test_a_token_with_anything_put_in_is_rejected(place: int, text: str) -> None:
    assert maker_of(TOKEN[:place] + text + TOKEN[place:], ONE) is None


@given(st.integers(0, LENGTH - 1), st.integers(1, LENGTH))
def test_a_token_with_anything_taken_out_is_rejected(place: int, count: int) -> None:
    assert maker_of(TOKEN[:place] + TOKEN[place + count :], ONE) is None


@given(st.permutations(list(range(6))))
def test_a_token_whose_checksum_is_shuffled_is_rejected(order: list[int]) -> None:
    tail = TOKEN[BODY_END:]
    changed = TOKEN[:BODY_END] + "".join(tail[place] for place in order)
    assert (maker_of(changed, ONE) is CURRENT) == (changed == TOKEN)


def test_unusual_digits_and_letters_are_no_digits_of_ours() -> None:
    assert maker_of(TOKEN.replace(TOKEN[10], "٣", 1), ONE) is None
    assert maker_of(TOKEN[:-1] + "\udcff", ONE) is None


@given(st.text(max_size=100))
def test_what_is_shown_of_a_token_is_its_first_nine_and_last_four_characters_at_most(text: str) -> None:
    shown = redact(text)
    assert shown == "…" or shown == f"{text[:9]}…{text[-4:]}"
    assert shown.isprintable()
    if shown != "…":
        assert len(text) >= 24
