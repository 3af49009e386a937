"""What `/admin/providers` and `/admin/models` take. Secrets are their values: never references, never shown."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from gateway.settings.section import OnClientGone

_LONGEST_SECRET = 16_384
# Where Google's library asks for a token: a key file may name another place, and kinds of credentials other than a
# service account's may name files to read and commands to run.
# https://google.aip.dev/auth/4112 (read 2026-11)
_GOOGLE_TOKEN_URIS = (None, "https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")


def _secret(text: str) -> str:
    if text == "none" or text.startswith(("env:", "file:")):
        raise ValueError(
            "give the secret itself: the gateway's environment and files are named in its configuration only "
            "(for no secret leave the field away, or give null)"
        )
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII without spaces around it")
    return text


def _service_account(text: str) -> str:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or document.get("type") != "service_account":
        raise ValueError("must be the JSON of a Google service account's key")
    if document.get("token_uri") not in _GOOGLE_TOKEN_URIS or document.get("universe_domain", "googleapis.com") != (
        "googleapis.com"
    ):
        raise ValueError("must have Google's own token_uri and universe_domain")
    return orjson.dumps(document).decode()


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


Secret = Annotated[str, Field(min_length=1, max_length=_LONGEST_SECRET), AfterValidator(_secret)]
_Credentials = Annotated[str, Field(min_length=1, max_length=_LONGEST_SECRET), AfterValidator(_service_account)]
_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(_printable)
]
_Fields = Annotated[list[_Text], Field(max_length=256)]
# It goes into addresses: nothing that could end a host or a path's segment.
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    def given(self, *left_out: str) -> dict[str, Any]:
        """The fields that the body named, as plain values."""
        names = self.model_fields_set.difference(left_out)
        return {name: value for name, value in self.model_dump().items() if name in names}


class KeyWithWeight(_Body):
    """One of several keys."""

    key: Secret
    weight: _Weight = 1.0


class ProviderChanges(_Body):
    """`PATCH /admin/providers/{id}`: what is left away stays, null takes a field away."""

    base_url: Annotated[str, Field(max_length=2048)] | None = None
    enabled: bool = True
    api_key: Secret | None = None
    api_keys: Annotated[list[KeyWithWeight], Field(max_length=64)] | None = None
    headers: Annotated[dict[str, Secret], Field(max_length=32)] | None = None
    organization: _Text | None = None
    unsupported: _Fields | None = None
    rename: Annotated[dict[_Text, _Text], Field(max_length=256)] | None = None
    lacking: Annotated[dict[_Text, str], Field(max_length=256)] | None = None
    api_version: _Word | None = None
    region: _Word | None = None
    project: _Word | None = None
    tenant_id: _Word | None = None
    client_id: _Text | None = None
    client_secret: Secret | None = None
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    credentials: _Credentials | None = None
    stream_usage: bool | None = None
    on_client_gone: OnClientGone | None = None
    timeouts: Annotated[dict[str, float | None], Field(max_length=8)] | None = None


class NewProvider(ProviderChanges):
    """`POST /admin/providers`."""

    name: _ProviderName
    type: _Text


class TrialBody(_Body):
    """`POST /admin/providers/{id}/test`: with which of the provider's models; unset: one that it is a target for."""

    model: _Text | None = None


class ModelChanges(_Body):
    """`PATCH /admin/models/{id}`: what is left away stays, null takes a field away. As in YAML, and checked so."""

    enabled: bool = True
    targets: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=64)] | None = None
    aliases: _Fields | None = None
    price: dict[str, Any] | None = None
    lacking: Annotated[dict[_Text, str], Field(max_length=256)] | None = None
    max_tokens: int | None = None
    context_fallbacks: _Fields | None = None
    policy_fallbacks: _Fields | None = None
    timeouts: Annotated[dict[str, float | None], Field(max_length=8)] | None = None


class NewModel(ModelChanges):
    """`POST /admin/models`."""

    name: _Text
    targets: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=64)]
