"""OpenAI's and Anthropic's rate-limit headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.rate_limits import exhausted_for_s

WALL_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "1s"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "17ms"}, 0.017),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1d"}, 86_400.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-requests": "5s"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0"}, 0.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000030"}, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000030500"}, 30.5),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, 0.0),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"}, 0.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "9s",
            },
            9.0,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:20Z",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2027-01-15T09:00:00Z",
            },
            20.0,
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2027-01-15T09:00:07+01:00",
            },
            7.0,
        ),
        (
            {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2020-01-01T00:00:00Z"},
            0.0,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "tomorrow"}, 0.0),
    ],
)
def test_an_exhausted_limit_says_when_it_is_full_again(headers: dict[str, str], seconds: float) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert exhausted_for_s(pairs, WALL_S) == pytest.approx(seconds)
    assert exhausted_for_s(pairs[::-1], WALL_S) == pytest.approx(seconds)


names = st.sampled_from(
    [
        b"x-ratelimit-remaining-requests",
        b"x-ratelimit-reset-requests",
        b"anthropic-ratelimit-requests-remaining",
        b"anthropic-ratelimit-requests-reset",
        b"x-ratelimit-remaining",
        b"x-ratelimit-reset",
        b"x-ratelimit",
    ]
)
values = st.binary(max_size=30) | st.from_regex(rb"[0-9a-zT:.+-]{0,30}") | st.just(b"0")


@given(st.lists(st.tuples(names, values), max_size=6))
def test_any_headers_give_a_finite_time(headers: list[tuple[bytes, bytes]]) -> None:
    assert 0.0 <= exhausted_for_s(headers, WALL_S) < 1e15
