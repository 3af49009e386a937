from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from gateway.errors import GatewayError
from gateway.server.admin.request import read_body


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    size: int = 1
    inner: list[int] = []


@pytest.mark.parametrize(
    ("body", "code", "param", "words"),
    [
        (b"{", "invalid_json", None, "not valid JSON"),
        (b"\xff", "invalid_json", None, "not valid JSON"),
        (b"[]", "invalid_json", None, "JSON object"),
        (b"null", "invalid_json", None, "JSON object"),
        (b"", "missing_field", "name", "`name` is missing"),
        (b'{"nam":"x","name":"x"}', "invalid_field", "nam", "did you mean `name`?"),
        (b'{"name":"x","zzz":1}', "invalid_field", "zzz", "`name`, `size`, `inner`"),
        (b'{"name":7}', "invalid_field", "name", "valid string"),
        (b'{"name":"x","size":true}', "invalid_field", "size", "valid integer"),
        (b'{"name":"x","inner":[1,"2"]}', "invalid_field", "inner.1", "valid integer"),
        (b"[" * 5000, "invalid_json", None, "not valid JSON"),
    ],
)
def test_a_bad_body_is_refused_naming_what_is_wrong(body: bytes, code: str, param: str | None, words: str) -> None:
    with pytest.raises(GatewayError) as raised:
        read_body(Body, body)
    error = raised.value
    assert (error.code, error.status, error.param) == (code, 400, param)
    assert words in error.message


def test_a_good_body_is_read() -> None:
    assert read_body(Body, b'{"name":"x"}') == Body(name="x")


def test_a_refusal_never_repeats_a_value() -> None:
    with pytest.raises(GatewayError) as raised:
        read_body(Body, b'{"name":["sk-secret"],"size":"sk-secret"}')
    assert "sk-secret" not in raised.value.message


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_no_body_raises_anything_but_a_refusal(body: bytes) -> None:
    status = 200
    try:
        read_body(Body, body)
    except GatewayError as error:
        status = error.status
    assert status in (200, 400)
