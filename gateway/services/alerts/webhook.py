"""An alert as the request that a webhook gets. Pure.

Requests are signed as Standard Webhooks 1.0.0 says, so that its libraries can verify them: HMAC-SHA256 over
`id.timestamp.body`, https://www.standardwebhooks.com and its spec/standard-webhooks.md (read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

import orjson

from gateway.services.alerts.alert import Alert, facts_of, text_of
from gateway.wire.shown import shown_time

WebhookFormat = Literal["json", "slack"]
Headers = list[tuple[str, str]]

_PREFIX: Final = "whsec_"
_LEAST_KEY_BYTES: Final = 24
_MOST_KEY_BYTES: Final = 64
_DIGEST_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts go. The URL may be a secret itself, so neither it nor `key` (None: not signed) is ever shown."""

    url: str = field(repr=False)
    format: WebhookFormat = "json"
    key: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The host, and a digest of the URL: by this it stands in the database and in logs."""
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{urlsplit(self.url).hostname}#{digest}"

    def request(self, alert: Alert, timestamp: int) -> tuple[Headers, bytes]:
        """The headers and the body of one attempt at `timestamp`, Unix seconds."""
        body = slack_body(alert) if self.format == "slack" else json_body(alert)
        headers = [
            ("content-type", "application/json"),
            ("user-agent", "kubechat-gateway"),
            ("webhook-id", alert.id),
            ("webhook-timestamp", str(timestamp)),
        ]
        if self.key is not None:
            headers.append(("webhook-signature", sign(self.key, alert.id, timestamp, body)))
        return headers, body


def signing_key(secret: str) -> bytes:
    """The key in a secret: `whsec_` and base64, or any other text as it stands. Raises ValueError, not showing it.

    Standard Webhooks asks for 24 to 64 bytes.
    """
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"after {_PREFIX} comes base64") from None
    if not _LEAST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES:
        raise ValueError(f"a webhook's secret has {_LEAST_KEY_BYTES} to {_MOST_KEY_BYTES} bytes, not {len(key)}")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: scheme v1, symmetric."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def json_body(alert: Alert) -> bytes:
    """`type`, `timestamp` and `data`, as Standard Webhooks recommends."""
    data = {**facts_of(alert), "hard": alert.hard}
    about = "gateway" if alert.budget_id is None else "budget"
    return orjson.dumps({"type": f"{about}.{alert.kind}", "timestamp": shown_time(alert.raised_at), "data": data})


def slack_body(alert: Alert) -> bytes:
    """What incoming webhooks of Slack, and others of their kind, take: `{"text": …}`.

    `&`, `<` and `>` are control characters there (`<!channel>` would call everybody), so they are escaped:
    https://docs.slack.dev/messaging/formatting-message-text (read 2026-11).
    """
    text = text_of(alert).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return orjson.dumps({"text": text})
