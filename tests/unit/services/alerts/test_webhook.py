"""What a webhook gets, and that the signature is the one of Standard Webhooks."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from gateway.services.alerts.alert import Alert, text_of
from gateway.services.alerts.webhook import Webhook, sign, signing_key

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ALERT = Alert(
    id="0199aaaa-0000-7000-8000-000000000001",
    kind="threshold",
    threshold_percent=80,
    spent_nano_usd=81_250_000_000,
    limit_nano_usd=100_000_000_000,
    raised_at=NOON,
    period_id=7,
    budget_id="0199bbbb-0000-7000-8000-000000000001",
    budget_name="R&D <!channel>",
    scope="team",
    subject="0199cccc",
    model=None,
    hard=True,
    end_user="",
    starts_at=NOON - timedelta(days=1),
    ends_at=datetime(2026, 12, 1, tzinfo=UTC),
    counted_from=NOON - timedelta(days=1),
)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def test_the_signature_is_the_one_of_the_specification() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks (its libraries' own tests), read 2026-11.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_verify_what_it_gets_and_sees_what_was_changed() -> None:
    headers, body = Webhook("https://host/hook", "json", signing_key(SECRET)).request(ALERT, 1_800_000_000)
    given = dict(headers)
    assert given["content-type"] == "application/json"
    assert given["webhook-id"] == ALERT.id
    signed = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode()
    scheme, _, digest = given["webhook-signature"].partition(",")
    assert scheme == "v1"
    assert base64.b64decode(digest) == hmac.new(b"k" * 32, signed + body, hashlib.sha256).digest()
    assert base64.b64decode(digest) != hmac.new(b"k" * 32, signed + body + b" ", hashlib.sha256).digest()


def test_the_body_has_the_alerts_fields() -> None:
    _, body = Webhook("https://host/hook").request(ALERT, 0)
    found = orjson.loads(body)
    assert found["type"] == "budget.threshold"
    assert found["timestamp"] == "2026-11-02T12:00:00Z"
    data = found["data"]
    assert (data["spent_usd"], data["limit_usd"], data["threshold_percent"]) == (81.25, 100.0, 80)
    assert (data["budget_name"], data["scope"], data["subject"]) == ("R&D <!channel>", "team", "0199cccc")
    assert (data["ends_at"], data["used_up_at"], data["end_user"]) == ("2026-12-01T00:00:00Z", None, None)


def test_chats_get_text_in_which_nothing_commands_them() -> None:
    headers, body = Webhook("https://hooks.slack.com/services/T/B/x", "slack").request(ALERT, 0)
    assert orjson.loads(body) == {
        "text": "Budget 'R&amp;D &lt;!channel&gt;' (team 0199cccc): 80 % reached: $81.25 of $100.00 spent; "
        "the period ends 2026-12-01 00:00 UTC."
    }
    assert "webhook-signature" not in dict(headers)


def test_a_burn_rate_says_when_all_is_spent() -> None:
    # A tenth in a day: all in ten.
    burning = dataclasses.replace(ALERT, kind="burn_rate", threshold_percent=0, spent_nano_usd=10_000_000_000)
    assert burning.used_up_at == NOON + timedelta(days=9)
    assert "at this rate all of it by 2026-11-11 12:00 UTC" in text_of(burning)
    assert ALERT.used_up_at is None


@pytest.mark.parametrize(
    ("nano_usd", "text"), [(0, "$0.00"), (1, "$0.000000001"), (1_234_500_000_000, "$1,234.50"), (10**9, "$1.00")]
)
def test_money_is_shown_whole(nano_usd: int, text: str) -> None:
    small = dataclasses.replace(ALERT, spent_nano_usd=nano_usd, scope="global", subject="", model="m", end_user="u")
    assert f"{text} of $100.00" in text_of(small)
    assert "(global, model m, user u)" in text_of(small)


def test_an_exceeded_reservation_is_told_of_as_such() -> None:
    assert "billed more than was reserved" in text_of(dataclasses.replace(ALERT, kind="exceeded", ends_at=None))


def test_a_secret_that_is_no_base64_is_taken_as_it_stands() -> None:
    assert signing_key("a secret of 24 characters") == b"a secret of 24 characters"


@pytest.mark.parametrize("secret", ["short", "whsec_" + base64.b64encode(b"k" * 23).decode(), "whsec_?", "x" * 65, ""])
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r"24 to 64 bytes|comes base64") as raised:
        signing_key(secret)
    assert len(secret) < 5 or secret not in str(raised.value)


def test_neither_the_url_nor_the_key_is_shown() -> None:
    webhook = Webhook("https://hooks.slack.com/services/T0/B0/s3cret", "slack", b"k" * 32)
    assert "s3cret" not in repr(webhook) + webhook.name
    assert "kkk" not in repr(webhook)
    assert webhook.name.startswith("hooks.slack.com#")
    assert webhook.name != Webhook("https://hooks.slack.com/services/T0/B0/other").name
