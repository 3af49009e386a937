"""Base URLs become origins; what cannot be one is refused without showing a secret."""

from __future__ import annotations

import pytest

from gateway.upstream.origin import Origin
from gateway.upstream.proxy import Proxy


@pytest.mark.parametrize(
    ("url", "host", "port", "name", "host_header"),
    [
        ("https://api.openai.com/v1", "api.openai.com", 443, "api.openai.com:443", b"api.openai.com"),
        ("HTTP://Example.COM:80", "example.com", 80, "example.com:80", b"example.com"),
        ("http://127.0.0.1:9001/v1?x=y", "127.0.0.1", 9001, "127.0.0.1:9001", b"127.0.0.1:9001"),
        ("https://[::1]:8443/", "::1", 8443, "[::1]:8443", b"[::1]:8443"),
        (
            "https://bücher.example/",
            "xn--bcher-kva.example",
            443,
            "xn--bcher-kva.example:443",
            b"xn--bcher-kva.example",
        ),
        ("http://llm_service.ns.svc", "llm_service.ns.svc", 80, "llm_service.ns.svc:80", b"llm_service.ns.svc"),
    ],
)
def test_a_base_url_becomes_an_origin(url: str, host: str, port: int, name: str, host_header: bytes) -> None:
    origin = Origin.parse(url)
    assert (origin.host, origin.port, origin.name, origin.host_header) == (host, port, name, host_header)
    assert origin.tls is url.lower().startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com/v1",
        "ftp://a",
        "http://",
        "http:///v1",
        "http://a:0/",
        "http://a:99999/",
        "http://a:port/",
        "http://a b/",
        "https://user:hunter2@a/",
        "http://[::1/",
    ],
)
def test_a_url_that_is_no_origin_is_refused_without_its_userinfo(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        Origin.parse(url)
    assert "hunter2" not in str(raised.value)


def test_line_ends_in_a_url_never_reach_a_header() -> None:
    assert Origin.parse("http://a\r\nb/").host_header == b"ab"  # urlsplit drops them


def test_origins_are_the_same_key_when_all_that_matters_is_the_same() -> None:
    one, other = Origin.parse("https://a/v1"), Origin.parse("https://a:443/v2")
    assert one == other
    assert hash(one) == hash(other)
    assert one != Origin.parse("https://a/v1", ca_file="/ca.pem")
    assert one != Origin.parse("https://a/v1", cert_file="/cert.pem", key_file="/key.pem")
    assert one != Origin.parse("https://a/v1", proxy="http://proxy:3128")
    assert one != Origin.parse("http://a:443")


def test_a_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="key_file needs cert_file"):
        Origin.parse("https://a", key_file="/key.pem")


def test_the_proxy_comes_from_the_environment_only_when_asked() -> None:
    environ = {"HTTPS_PROXY": "http://user:hunter2@proxy:3128", "HTTP_PROXY": "plain:8080"}
    assert Origin.parse("https://a", environ=environ).proxy is None
    origin = Origin.parse("https://a", proxy="env", environ=environ)
    assert origin.proxy == Proxy("http", "proxy", 3128, b"Basic dXNlcjpodW50ZXIy")
    assert "hunter2" not in repr(origin)
    assert "dXNlcjpodW50ZXIy" not in repr(origin)
    assert origin.forward is None
    forwarded = Origin.parse("http://a:8000", proxy="env", environ=environ)
    assert forwarded.proxy == Proxy("http", "plain", 8080)
    assert forwarded.forward == b"http://a:8000"
