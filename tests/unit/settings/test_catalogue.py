from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.settings import Price, Secret, Server, host_and_port, pico_usd_per_search_unit, pico_usd_per_token
from tests.unit.settings.conftest import Load


@given(st.integers(min_value=0, max_value=10**12))
def test_every_price_of_whole_pico_dollars_is_kept_exactly(pico: int) -> None:
    usd = Decimal(pico) / 10**6
    price = Price(input_usd_per_mtok=usd, output_usd_per_mtok=Decimal(0))
    assert pico_usd_per_token(price.input_usd_per_mtok) == pico


def test_a_price_may_be_a_number_or_text() -> None:
    price = Price.model_validate({"input_usd_per_mtok": 0.15, "output_usd_per_mtok": "0.000001"})
    assert pico_usd_per_token(price.input_usd_per_mtok) == 150_000
    assert pico_usd_per_token(price.output_usd_per_mtok) == 1


@pytest.mark.parametrize("price", [-1, "0.0000001", 1e-7, True, "NaN", "Infinity", float("inf"), "free", [1], 1e300])
def test_a_price_that_is_finer_or_no_price_is_refused(price: object) -> None:
    with pytest.raises(ValidationError):
        Price.model_validate({"input_usd_per_mtok": price, "output_usd_per_mtok": 0})


def test_a_search_unit_has_a_price_of_its_own() -> None:
    price = Price.model_validate({"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "usd_per_search_unit": 0.002})
    assert price.usd_per_search_unit is not None
    assert pico_usd_per_search_unit(price.usd_per_search_unit) == 2_000_000_000
    for usd in (-1, 1e-13, 1001, "NaN", True):
        with pytest.raises(ValidationError):
            Price.model_validate({"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "usd_per_search_unit": usd})


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("env", "env"),
        ("none", "none"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("env:PROXY", Secret("env", "PROXY")),
    ],
)
def test_a_proxy_is_a_word_a_url_or_a_secret(proxy: str, expected: object, load_text: Load) -> None:
    assert load_text(f"upstream: {{proxy: '{proxy}'}}").upstream.proxy == expected


@pytest.mark.parametrize("proxy", ["https://p:1", "socks5://p:1", "http://u@p:1", "proxy:3128", 5, True, ["env"]])
def test_other_proxies_are_refused(proxy: object) -> None:
    from gateway.settings import Upstream

    with pytest.raises(ValidationError):
        Upstream.model_validate({"proxy": proxy})


def test_headers_may_hold_plain_words_and_named_secrets(load_text: Load) -> None:
    read = load_text("providers: {d: {type: demo, headers: {x-team: red, x-token: env:T, x-note: none}}}")
    headers = read.providers["d"].headers
    assert (headers["x-team"].kind, headers["x-token"].kind, headers["x-note"].reference) == ("literal", "env", "none")


def test_a_header_given_twice_in_different_case_is_refused() -> None:
    from gateway.settings import Provider

    with pytest.raises(ValidationError, match="given twice"):
        Provider.model_validate({"type": "demo", "headers": {"X-A": "1", "x-a": "2"}})


def test_tls_may_be_the_word_none() -> None:
    assert Server.model_validate({"tls": "none"}).tls is None


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:9090", ("::1", 9090)), ("h:0", ("h", 0))]
)
def test_an_address_is_a_host_and_a_port(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize("text", ["", "h", ":80", "::1:80", "h:", "h:70000", "h:8o", "a b:1", "[::1]"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        host_and_port(text)
