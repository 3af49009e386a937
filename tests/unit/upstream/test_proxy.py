"""Which proxy an origin is reached through."""

from __future__ import annotations

import pytest

from gateway.upstream.proxy import Proxy, bypassed, proxy_for


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://a:1"}, "a:1"),
        ({"HTTPS_PROXY": "http://b:1"}, "b:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, "a:1"),
        ({"http_proxy": "http://a:1"}, None),
        ({"ALL_PROXY": "c:9"}, "c:9"),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": "c:9"}, "c:9"),
        ({"HTTPS_PROXY": "https://d"}, "d:443"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, "[fd00::1]:3128"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "other,.example.com"}, None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], expected: str | None) -> None:
    proxy = proxy_for("https", "api.example.com", 443, environ)
    assert (proxy.name if proxy else None) == expected


def test_a_cgi_request_cannot_set_the_proxy() -> None:
    assert proxy_for("http", "a.example", 80, {"HTTP_PROXY": "evil:1", "REQUEST_METHOD": "POST"}) is None


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        ("api.example.com", "", False),
        ("api.example.com", "*", True),
        ("api.example.com", "example.com", True),
        ("api.example.com", ".example.com", True),
        ("api.example.com", "*.example.com", True),
        ("example.com", ".example.com", True),
        ("badexample.com", "example.com", False),
        ("API.Example.Com", "other, EXAMPLE.com ", True),
        ("api.example.com", "api.example.com:443", True),
        ("api.example.com", "api.example.com:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("fd00::5", "fd00::/16", True),
        ("fd00::5", "[fd00::5]", True),
        ("fd00::5", "[fd00::5]:443", True),
        ("fd00::5", "[fd00::5]:80", False),
        ("fd00::5", "fd00::5", True),
        ("api.example.com", "10.0.0.0/8,bad/net", False),
        ("localhost", "", True),
        ("127.0.0.1", "", True),
        ("::1", "", True),
    ],
)
def test_no_proxy_names_hosts_suffixes_addresses_and_networks(host: str, no_proxy: str, expected: bool) -> None:
    assert bypassed(host, 443, no_proxy) is expected


def test_userinfo_becomes_basic_credentials_and_is_never_shown() -> None:
    proxy = Proxy.parse("http://us%40er:p%3Ass@proxy:3128")
    assert proxy.authorization == b"Basic dXNAZXI6cDpzcw=="
    assert "p%3Ass" not in repr(proxy)
    assert "dXNA" not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["socks5://user:hunter2@a:1", "http://user:hunter2@", "http://user:hunter2@a:x", "ftp://a"]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_userinfo(url: str) -> None:
    with pytest.raises(ValueError, match="proxy's URL") as raised:
        Proxy.parse(url)
    assert "hunter2" not in str(raised.value)
