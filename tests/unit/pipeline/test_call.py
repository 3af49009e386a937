"""A call: its ids and what it says in headers."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.call import Call, new_request_id, render_usd, sane_request_id
from gateway.wire.openai import CHAT


@given(st.integers(0, 2**48 - 1))
def test_a_request_id_is_a_uuid_of_version_7_with_the_time_in_front(epoch_ms: int) -> None:
    made = uuid.UUID(new_request_id(epoch_ms))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == epoch_ms
    assert new_request_id(epoch_ms) != new_request_id(epoch_ms)


@pytest.mark.parametrize(
    ("nano_usd", "text"), [(0, b"0.000000000"), (1, b"0.000000001"), (1_234_567_890, b"1.234567890")]
)
def test_money_is_exact(nano_usd: int, text: bytes) -> None:
    assert render_usd(nano_usd) == text


@pytest.mark.parametrize("sane", [b"a", b"req_1-2.3", b"A-z_0.9", b"x" * 128])
def test_a_sane_client_id_is_echoed(sane: bytes) -> None:
    assert sane_request_id(sane) == sane


@pytest.mark.parametrize("bad", [b"", b"a" * 129, b"a b", b"a\n", b'a"b', b"a\xff", "é".encode(), None])
def test_any_other_client_id_is_not(bad: bytes | None) -> None:
    assert sane_request_id(bad) is None


def test_an_upstream_sees_only_the_headers_it_may() -> None:
    headers = {
        b"authorization": b"Bearer x",
        b"cookie": b"c",
        b"openai-organization": b"o",
        b"openai-beta": b"b",
        b"traceparent": b"t",
    }
    assert Call(CHAT, headers, b"", "").forwarded == b"openai-beta: b\r\ntraceparent: t\r\n"


def test_a_clients_id_is_echoed_beside_our_own() -> None:
    call = Call(CHAT, {b"x-request-id": b"mine"}, b"", "")
    headers: list[tuple[bytes, bytes]] = []
    call.add_headers(headers)
    assert dict(headers) == {b"x-request-id": b"mine", b"x-gateway-request-id": call.request_id.encode()}
