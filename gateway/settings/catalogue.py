"""What clients may ask for and who answers it: providers and models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gateway.settings.governance import Limits
from gateway.settings.mistakes import looks_like_credential
from gateway.settings.secrets import Secret, Text
from gateway.settings.section import (
    Count,
    CountOrZero,
    HttpUrl,
    LocalFile,
    Name,
    OnClientGone,
    Proxy,
    Seconds,
    Section,
)

PICO_USD_PER_TOKEN_IN_USD_PER_MTOK = Decimal("0.000001")
PICO_USD_IN_USD = Decimal("1e-12")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_CREDENTIAL_HEADER = re.compile(r"(?i)auth|key|token|secret|cookie|password|passwd|credential|signature|session")
# The connection itself decides these (RFC 9110, sections 7 and 8.6).
_CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _is_price(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError("must be a number of US dollars")
    return value


def _whole_pico(value: Decimal) -> Decimal:
    if value % PICO_USD_PER_TOKEN_IN_USD_PER_MTOK:
        raise ValueError("finer than a pico-dollar per token (0.000001 USD for a million tokens)")
    return value


def pico_usd_per_token(usd_per_mtok: Decimal) -> int:
    """A price of this file in the unit that the ledger counts in: whole pico-dollars per token."""
    return int(usd_per_mtok / PICO_USD_PER_TOKEN_IN_USD_PER_MTOK)


def _whole_pico_usd(value: Decimal) -> Decimal:
    if value % PICO_USD_IN_USD:
        raise ValueError("finer than a pico-dollar (0.000000000001 USD)")
    return value


def pico_usd_per_search_unit(usd: Decimal) -> int:
    """A price for each search unit in whole pico-dollars."""
    return int(usd / PICO_USD_IN_USD)


Weight = Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)]
UsdPerMtok = Annotated[
    Decimal,
    BeforeValidator(_is_price),
    Field(ge=0, le=1_000_000, allow_inf_nan=False),
    AfterValidator(_whole_pico),
]
UsdPerSearchUnit = Annotated[
    Decimal,
    BeforeValidator(_is_price),
    Field(ge=0, le=1000, allow_inf_nan=False),
    AfterValidator(_whole_pico_usd),
]


def _headers(value: object) -> object:
    """Header values as `Secret`: a reference, or a literal where the name and the value are no credentials."""
    if not isinstance(value, Mapping):
        return value
    read: dict[str, Secret] = {}
    seen: set[str] = set()
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header's name may hold only letters, digits and -_.!#$%&'*+^`|~")
        shown = "a header" if looks_like_credential(name) else f"the header {name}"
        if name.lower() in _CONNECTION_HEADERS:
            raise ValueError(f"{shown} belongs to the connection and cannot be set")
        if name.lower() in seen:
            raise ValueError(f"{shown} is given twice")
        seen.add(name.lower())
        read[name] = text if isinstance(text, Secret) else _header_value(name, shown, text)
    return read


def _header_value(name: str, shown: str, text: object) -> Secret:
    if not isinstance(text, str):
        raise ValueError(f"the value of {shown} must be text: put it in quotes")
    if text.startswith(("env:", "file:")):
        return Secret.parse(text)
    if _CREDENTIAL_HEADER.search(name) or looks_like_credential(text):
        raise ValueError(f"{shown} may carry a credential: name its value with env:NAME or file:PATH")
    if not text.isprintable() or not text.isascii() or text != text.strip():
        raise ValueError(f"the value of {shown} must be printable ASCII without spaces around it")
    return Secret("literal", str(text), text.origin if isinstance(text, Text) else None)


Headers = Annotated[dict[str, Secret], BeforeValidator(_headers)]


class Timeouts(Section):
    """Time limits that replace those of `upstream`; what is not given stays as it is there."""

    connect_s: Seconds | None = Field(default=None, description="instead of upstream.connect_timeout_s")
    first_byte_s: Seconds | None = Field(default=None, description="instead of upstream.first_byte_timeout_s")
    idle_s: Seconds | None = Field(default=None, description="instead of upstream.idle_timeout_s")
    total_s: Seconds | None = Field(default=None, description="instead of upstream.total_timeout_s")


class WeightedKey(Section):
    """One of several keys of a provider."""

    key: Secret = Field(description="names the key: env:NAME or file:PATH")
    weight: Weight = Field(default=1, description="share of requests among keys that work")


class Provider(Section):
    """Somebody who answers for models: where, and with which key."""

    type: Name = Field(description="how to talk to it: openai, demo, …")
    base_url: HttpUrl | None = Field(
        default=None, description="where its API is; unset: the address that the type knows"
    )
    api_key: Secret | None = Field(
        default=None, description="names its key: env:NAME, file:PATH or none; unset: the type's usual variable"
    )
    organization: Name | None = Field(default=None, description="sent as OpenAI-Organization")
    headers: Headers = Field(
        default_factory=dict, description="headers added to each request; credentials only as env: or file:"
    )
    unsupported: tuple[Name, ...] | None = Field(
        default=None, description="request fields to drop because it refuses them; unset: what the type knows"
    )
    rename: dict[Name, Name] | None = Field(
        default=None, description="request fields it knows by another name; unset: what the type knows"
    )
    lacking: dict[Name, Literal["drop", "refuse"]] = Field(
        default_factory=dict,
        description="what to do with a request field that it lacks, instead of: drop what cannot change meaning, "
        "refuse the rest",
    )
    api_version: Name | None = Field(default=None, description="version of the API, where its address names one")
    embeddings: Literal["feature-extraction", "openai", "embed"] | None = Field(
        default=None, description="how a Hugging Face endpoint embeds; unset: feature-extraction, as the router does"
    )
    region: Name | None = Field(default=None, description="region (Bedrock) or location (Vertex AI)")
    project: Name | None = Field(default=None, description="project (Vertex AI)")
    tenant_id: Name | None = Field(default=None, description="Entra tenant, to sign in to Azure without a key")
    client_id: Name | None = Field(default=None, description="Entra client")
    client_secret: Secret | None = Field(default=None, description="Entra client's secret: env:NAME or file:PATH")
    access_key_id: Secret | None = Field(
        default=None, description="AWS access key; unset: AWS_ACCESS_KEY_ID or AWS_BEARER_TOKEN_BEDROCK"
    )
    secret_access_key: Secret | None = Field(default=None, description="AWS secret key; unset: AWS_SECRET_ACCESS_KEY")
    session_token: Secret | None = Field(default=None, description="AWS session token; unset: AWS_SESSION_TOKEN")
    credentials: Secret | None = Field(
        default=None, description="Google service account, JSON: file:PATH or env:NAME; unset: the environment's own"
    )
    api_keys: tuple[WeightedKey, ...] = Field(
        default=(), description="several keys instead of api_key, shared by weight"
    )
    stream_usage: bool | None = Field(
        default=None, description="ask for usage at the end of streams; unset: what the type knows"
    )
    ca_file: LocalFile | None = Field(default=None, description="CAs to trust instead of the usual ones, PEM")
    cert_file: LocalFile | None = Field(default=None, description="client certificate to show, PEM")
    key_file: LocalFile | None = Field(default=None, description="private key of the client certificate, PEM")
    proxy: Proxy | None = Field(default=None, description="instead of upstream.proxy")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="time limits of this provider")
    on_client_gone: OnClientGone | None = Field(default=None, description="instead of upstream.on_client_gone")
    limits: Limits | None = Field(default=None, description="how much is sent to it, whoever asks")

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.api_key is not None and self.api_keys:
            raise ValueError("api_key and api_keys exclude each other")
        return self


class Price(Section):
    """What a model's tokens cost, where the price map is wrong or does not know them.

    A price of tokens that is not given is that of plain input or output.
    """

    input_usd_per_mtok: UsdPerMtok = Field(description="input tokens")
    output_usd_per_mtok: UsdPerMtok = Field(description="output tokens; 0 for embeddings")
    cached_input_usd_per_mtok: UsdPerMtok | None = Field(
        default=None, description="input tokens read from the provider's cache"
    )
    cache_write_usd_per_mtok: UsdPerMtok | None = Field(
        default=None, description="input tokens written to the provider's cache"
    )
    cache_write_1h_usd_per_mtok: UsdPerMtok | None = Field(
        default=None, description="input tokens written there for an hour; unset: as cache_write_usd_per_mtok"
    )
    audio_input_usd_per_mtok: UsdPerMtok | None = Field(default=None, description="audio input tokens")
    audio_output_usd_per_mtok: UsdPerMtok | None = Field(default=None, description="audio output tokens")
    image_input_usd_per_mtok: UsdPerMtok | None = Field(default=None, description="image input tokens")
    image_output_usd_per_mtok: UsdPerMtok | None = Field(default=None, description="image output tokens")
    usd_per_search_unit: UsdPerSearchUnit | None = Field(
        default=None, description="a search unit of rerank: a query with up to a hundred documents"
    )


class Target(Section):
    """One way to answer for a model."""

    provider: Name = Field(description="name of a provider declared under providers")
    model: Name = Field(description="what that provider calls the model")
    weight: Weight = Field(default=1, description="share of requests among equal priorities")
    priority: CountOrZero = Field(default=0, description="0 is tried first, then 1, and so on")
    price: Price | None = Field(
        default=None, description="what this target's tokens cost, instead of the model's price"
    )
    limits: Limits | None = Field(default=None, description="how much is sent to this model there, whoever asks")


class Model(Section):
    """A name that clients ask for, and the targets that answer it."""

    name: Name = Field(description="what clients ask for")
    targets: tuple[Target, ...] = Field(
        description="who answers: in order of priority, equal priority shared by weight"
    )
    aliases: tuple[Name, ...] = Field(default=(), description="other names for the same model")
    price: Price | None = Field(
        default=None, description="instead of the price map's, for those of its targets that have none of their own"
    )
    lacking: dict[Name, Literal["drop", "refuse"]] = Field(
        default_factory=dict, description="as providers.*.lacking, for this model only"
    )
    max_tokens: Count | None = Field(
        default=None, description="output limit sent where the provider demands one and the client gave none"
    )
    context_fallbacks: tuple[Name, ...] = Field(
        default=(), description="models to try when the prompt is too long for this one"
    )
    policy_fallbacks: tuple[Name, ...] = Field(
        default=(), description="models to try when this one refuses the content"
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="time limits of this model")
    limits: Limits | None = Field(default=None, description="how much may be asked of it, by all callers together")

    @field_validator("targets")
    @classmethod
    def _has_a_target(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if not targets:
            raise ValueError("must have at least one target")
        return targets
