"""What the admin API is told, as the configuration would have it; and what a change of address demands."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.catalogue.forms import (
    SECRET_FIELDS,
    ProviderForm,
    model_document,
    plain_fields,
    provider_document,
    read_model,
)
from gateway.settings import Secret, resolve

FULL: dict[str, Any] = {
    "base_url": "https://llm.example/v1",
    "api_key": "s3cret-1",
    "headers": {"x-team": "s3cret-2"},
    "organization": "org",
    "unsupported": ["logprobs"],
    "rename": {"max_tokens": "max_output"},
    "timeouts": {"connect_s": 2.0},
}


def refused(form: ProviderForm, changes: dict[str, Any]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        form.changed(changes).provider()
    return raised.value


def test_a_form_becomes_a_provider_whose_document_shows_no_secret() -> None:
    provider = ProviderForm("openai").changed(FULL).provider()
    assert resolve(provider.api_key, {}) == "s3cret-1"
    assert resolve(provider.headers["x-team"], {}) == "s3cret-2"
    document = provider_document(provider)
    assert document == {
        **{name: value for name, value in FULL.items() if name not in ("api_key", "headers")},
        "type": "openai",
        "api_key": "stored",
        "headers": {"x-team": "stored"},
    }
    assert plain_fields(document).keys() == {"organization", "unsupported", "rename", "timeouts"}
    assert ProviderForm("openai", fields=plain_fields(document)).provider().organization == "org"
    assert "s3cret" not in repr(ProviderForm("openai").changed(FULL))


def test_nothing_is_left_to_the_environment() -> None:
    provider = ProviderForm("bedrock").provider()
    for name in SECRET_FIELDS:
        assert getattr(provider, name) == Secret("none")


def test_one_key_and_several_replace_each_other() -> None:
    form = ProviderForm("openai").changed({"api_key": "a"}).changed({"api_keys": [{"key": "b", "weight": 2.0}]})
    provider = form.provider()
    assert provider.api_key is None
    assert [(resolve(key.key, {}), key.weight) for key in provider.api_keys] == [("b", 2.0)]
    assert provider_document(provider)["api_keys"] == [{"key": "stored", "weight": 2.0}]
    assert resolve(form.changed({"api_key": "c"}).provider().api_key, {}) == "c"
    assert "exclude each other" in refused(form, {"api_key": "c", "api_keys": [{"key": "b"}]}).message


def test_null_takes_a_field_away_and_what_is_not_named_stays() -> None:
    form = ProviderForm("openai").changed(FULL).changed({"organization": None, "enabled": False, "headers": None})
    provider = form.provider()
    assert (provider.organization, provider.headers, form.enabled) == (None, {}, False)
    assert resolve(provider.api_key, {}) == "s3cret-1"


@pytest.mark.parametrize("place", ["base_url", "region", "project", "tenant_id"])
def test_secrets_are_given_again_when_they_would_be_sent_elsewhere(place: str) -> None:
    form = ProviderForm("openai").changed(FULL)
    for given in ({}, {"api_key": "new"}, {"headers": {"x-team": "new"}}):
        error = refused(form, {place: "https://evil.example", **given})
        assert error.code == "missing_field"
        assert error.param == ("headers" if "api_key" in given else "api_key")
    moved = form.changed({place: "https://new.example", "api_key": "new", "headers": None})
    assert resolve(moved.provider().api_key, {}) == "new"
    # What was there before is not moved by naming it.
    again = form.changed({"base_url": FULL["base_url"], "region": None})
    assert resolve(again.provider().api_key, {}) == "s3cret-1"


def test_replacing_the_only_key_by_several_is_giving_it_again() -> None:
    form = ProviderForm("openai").changed({"api_key": "a"})
    moved = form.changed({"base_url": "https://new.example", "api_keys": [{"key": "b"}]})
    assert moved.secrets == {"api_keys": [{"key": "b"}]}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"base_url": "ftp://a"}, "base_url"),
        ({"base_url": "https://u:s3cret@a"}, "base_url"),
        ({"headers": {"host": "a"}}, "headers"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"api_keys": [{"key": "s3cret", "weight": -1}]}, "api_keys.0.weight"),
        ({"timeouts": {"connect_s": -1.0}}, "timeouts.connect_s"),
        ({"lacking": {"top_k": "emulate"}}, "lacking.top_k"),
    ],
)
def test_what_is_wrong_is_named_and_never_repeated(changes: dict[str, Any], param: str) -> None:
    error = refused(ProviderForm("openai"), changes)
    assert (error.code, error.param) == ("invalid_field", param)
    assert "s3cret" not in error.message


def test_a_model_reads_back_as_it_was_written() -> None:
    data = {
        "name": "large",
        "targets": [{"provider": "lab", "model": "l-1", "weight": 2.0}],
        "aliases": ["big"],
        "price": {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6},
    }
    model = read_model(data)
    assert read_model(model_document(model)) == model
    with pytest.raises(GatewayError, match="targets") as raised:
        read_model({"name": "x"})
    assert raised.value.code == "missing_field"
