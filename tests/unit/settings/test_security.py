"""What `security.allow_private_upstreams` takes, and that the rule takes it too."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.settings import Security
from gateway.upstream.addresses import AddressRule


@pytest.mark.parametrize(
    "entry",
    ["127.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::1", "fd00::/8", "ollama", "ollama.internal", "llm_service.ns.svc"],
)
def test_addresses_networks_and_hosts_are_exceptions(entry: str) -> None:
    rule = AddressRule.of(Security(allow_private_upstreams=(entry,)).allow_private_upstreams)
    assert len(rule.networks) + len(rule.hosts) == 1


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.0/33", "256.1.1.1", "10.1", "http://a", "a b", "", "a..b", "a/b", "[::1]", "é", "a" * 300, "a\n", "*.a"],
)
def test_what_is_none_of_them_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError, match="must be an address, a network"):
        Security(allow_private_upstreams=(entry,))
