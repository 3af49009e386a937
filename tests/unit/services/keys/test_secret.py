from __future__ import annotations

import base64

import pytest

from gateway.services.keys.secret import (
    ENV_PREVIOUS,
    ENV_SECRET,
    Secret,
    SecretError,
    Secrets,
    hkdf_sha256,
    same_secret,
)

RAW = bytes(range(32))
TEXT = base64.b64encode(RAW).decode()


def test_hkdf_gives_the_first_block_of_rfc_5869_test_case_1() -> None:
    found = hkdf_sha256(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)))
    assert found.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_hkdf_agrees_with_cryptographys() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    for info in (b"", b"a", b"long" * 40):
        theirs = HKDF(algorithm=SHA256(), length=32, salt=b"salt", info=info).derive(RAW)
        assert hkdf_sha256(RAW, salt=b"salt", info=info) == theirs


@pytest.mark.parametrize(
    "spelling",
    [TEXT, TEXT.rstrip("="), f"  {TEXT}\n", base64.urlsafe_b64encode(RAW).decode()],
)
def test_every_base64_spelling_of_the_same_bytes_is_the_same_secret(spelling: str) -> None:
    assert Secret.parse(spelling).fingerprint == Secret.parse(TEXT).fingerprint


def test_any_string_of_32_characters_is_a_secret_and_a_shorter_one_is_refused_unseen() -> None:
    assert Secret.parse("correct horse battery staple 123").material == b"correct horse battery staple 123"
    with pytest.raises(SecretError, match="GATEWAY_SECRET_KEY is too short") as refusal:
        Secret.parse("too-short-to-be-a-secret")
    assert "too-short-to-be" not in str(refusal.value)


def test_sub_keys_differ_by_use_and_by_secret() -> None:
    one, other = Secret.parse(TEXT), Secret.parse("x" * 32)
    keys = [one.checksum_key, one.hash_key, one.subkey("admin-secrets/v1"), other.checksum_key, other.hash_key]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 for key in keys)
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint not in b"".join(keys)


def test_a_secret_is_never_printed() -> None:
    secret = Secret.parse("correct horse battery staple 123")
    for printed in (repr(secret), str(secret), repr(Secrets(secret, secret))):
        assert "correct" not in printed
        assert repr(secret.hash_key) not in printed


def test_the_environment_comes_before_the_home_and_may_name_the_secret_before() -> None:
    found = Secrets.read({ENV_SECRET: TEXT, ENV_PREVIOUS: "p" * 40}, lambda: b"h" * 32)
    assert found.current.material == RAW
    assert [secret.material for secret in found.all] == [RAW, b"p" * 40]


def test_without_an_environment_the_home_has_the_secret() -> None:
    found = Secrets.read({ENV_SECRET: " "}, lambda: RAW)
    assert found.current == Secret.parse(TEXT)
    assert found.previous is None


def test_without_a_home_the_environment_must_have_the_secret() -> None:
    with pytest.raises(SecretError, match="GATEWAY_SECRET_KEY is not set"):
        Secrets.read({}, None)


def test_secrets_compare_whatever_they_hold() -> None:
    assert same_secret("sk-a", "sk-a")
    assert not same_secret("sk-a", "sk-ab")
    assert not same_secret("\udcff", "é")
