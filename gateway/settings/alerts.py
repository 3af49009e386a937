"""Who is told of budgets that near their end."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, model_validator

from gateway.settings.secrets import Secret
from gateway.settings.section import Section

_LONGEST_URL = 2048


def _webhook_url(value: object) -> Secret | str:
    """An http or https URL, or a secret that holds one: that of a chat's webhook is a secret itself."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return Secret.parse(value)
    if not isinstance(value, str) or (wrong := why_no_webhook(value)):
        reason = wrong if isinstance(value, str) else "must be text"
        raise ValueError(f"{reason}; or name it: env:NAME or file:PATH")
    return value


def why_no_webhook(url: str) -> str | None:
    """Why nothing can be posted to `url`, which is not repeated; None where it can."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or not url.isascii() or not url.isprintable() or " " in url or len(url) > _LONGEST_URL:
        return "must be a URL such as https://host/hook, of ASCII characters"
    if "@" in parts.netloc or parts.fragment:
        return "must hold no user name, no password and no #"
    return None


WebhookUrl = Annotated[Secret | str, PlainValidator(_webhook_url)]


class Webhook(Section):
    """Where alerts are posted to."""

    url: WebhookUrl = Field(description="URL, or env:NAME or file:PATH where the URL itself is secret; leads anywhere")
    format: Literal["json", "slack"] = Field(
        default="json", description='json: the alert\'s fields; slack: {"text": …}, which Slack and its like take'
    )
    secret: Secret | None = Field(
        default=None, description="signs what is sent (Standard Webhooks); format json needs one, or none"
    )

    @model_validator(mode="after")
    def _json_is_signed(self) -> Self:
        if self.format == "json" and self.secret is None:
            raise ValueError("must have a secret, by which the receiver knows who sent it; or say secret: none")
        return self


class Alerts(Section):
    """Alerts at the thresholds of budgets, when they burn too fast, and when they were charged more than reserved."""

    webhooks: tuple[Webhook, ...] = Field(default=(), max_length=32, description="who is told")
