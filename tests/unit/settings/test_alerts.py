"""What `alerts.webhooks` takes."""

from __future__ import annotations

import pytest

from gateway.settings import Secret, dump
from tests.unit.settings.conftest import Load, Mistakes

_SIGNED = "alerts: {webhooks: [{url: %s, secret: env:HOOK}]}"


def test_a_webhook_has_a_url_and_a_secret_that_are_named(load_text: Load) -> None:
    settings = load_text(
        "alerts:\n  webhooks:\n"
        "    - {url: 'https://host:8443/hook?a=b', secret: env:HOOK}\n"
        "    - {url: env:SLACK_URL, format: slack}\n"
        "    - {url: http://127.0.0.1:9/, secret: none}\n"
    )
    first, second, third = settings.alerts.webhooks
    assert (first.url, first.format, first.secret) == ("https://host:8443/hook?a=b", "json", Secret("env", "HOOK"))
    assert (second.url, second.format, second.secret) == (Secret("env", "SLACK_URL"), "slack", None)
    assert third.secret == Secret("none")
    assert dump(settings)["alerts"]["webhooks"][1] == {"url": "env:SLACK_URL", "format": "slack", "secret": None}


def test_there_are_none_by_default(load_text: Load) -> None:
    assert load_text("").alerts.webhooks == ()


@pytest.mark.parametrize(
    "url",
    [
        *("7", "host", "ftp://host/", "'http://'", "'https://a b/'", "https://höst/", "https://" + "a" * 3000),
        *("https://u:s3cret@host/", "'https://host/#x'", "'env:'", "http://host:0/", "https://host:99999/"),
    ],
)
def test_what_nothing_can_be_posted_to_is_refused_without_being_repeated(mistakes_in: Mistakes, url: str) -> None:
    (mistake,) = mistakes_in(_SIGNED % url)
    assert mistake.path == "alerts.webhooks[0].url"
    assert "s3cret" not in str(mistake)


def test_a_secret_is_named_and_not_left_out_by_oversight(mistakes_in: Mistakes) -> None:
    (mistake,) = mistakes_in("alerts: {webhooks: [{url: https://host/hook}]}")
    assert "must have a secret" in mistake.message
    (mistake,) = mistakes_in("alerts: {webhooks: [{url: https://host/hook, secret: whsec_AAAA}]}")
    assert mistake.path == "alerts.webhooks[0].secret"
    assert "whsec_AAAA" not in str(mistake)
