"""What all sections have in common, and the kinds of values that they are made of."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from gateway.settings.secrets import Secret, Text

_DAY_S = 86_400.0
_LONGEST_HOST = 253
# Its last label is no number: 10.1 and 256.1.1.1 are addresses gone wrong.
_HOST = re.compile(r"(?:[A-Za-z0-9_-]+\.)*(?!\d+$)[A-Za-z0-9_-]+")


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes after loading.

    A key with no value (`key:` or `key: null`) counts as not written, so that its default holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


def _plain_text(text: str) -> str:
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise ValueError("must not be empty, nor begin or end with spaces, nor hold control characters")
    return text


def _http_url(text: str) -> str:
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
    if not valid or not text.isprintable() or " " in text:
        raise ValueError("must be a URL such as https://host/v1 or http://host:9001/v1")
    if url.username is not None or url.password is not None:
        raise ValueError("must not hold a user name or a password")
    if url.query or url.fragment:
        raise ValueError("must end with the path: no ? and no #")
    return text.rstrip("/")


def _listen_address(text: str) -> str:
    host_and_port(text)
    return text


def host_and_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:9090` or `[::1]:9090` as host and port. Raises ValueError for anything else."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("must be host:port, such as 127.0.0.1:9090 or [::1]:9090")
    return match[1] or match[2], int(match[3])


def _proxy(value: object) -> Secret | str:
    """`env`, `none`, the URL of a proxy without credentials, or a secret that holds a URL with them."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value in ("env", "none"):
        return str(value)
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return Secret.parse(value)
    try:
        url = _http_url(value) if isinstance(value, str) else ""
    except ValueError:
        url = ""
    if not url.startswith("http://"):
        raise ValueError(
            "must be env (HTTPS_PROXY and NO_PROXY decide), none, a URL such as http://proxy:3128, "
            "or env:NAME or file:PATH for a URL with a user name and a password"
        )
    return url


def _beside_its_yaml(value: object) -> object:
    """A relative path counts from the directory of the YAML file in which it is written."""
    if isinstance(value, str):
        if not value or not value.isprintable():
            raise ValueError("must be the path of a file")
        return Path(value.origin.file).parent / value if isinstance(value, Text) and value.origin else Path(value)
    return value


def _network_or_host(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        if not _HOST.fullmatch(text) or len(text) > _LONGEST_HOST:
            raise ValueError("must be an address, a network such as 10.0.0.0/8, or a host name") from None
    return text


Name = Annotated[str, AfterValidator(_plain_text), Field(max_length=256)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
NetworkOrHost = Annotated[str, AfterValidator(_network_or_host)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
LocalFile = Annotated[Path, BeforeValidator(_beside_its_yaml)]
Proxy = Annotated[Secret | str, PlainValidator(_proxy)]

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=_DAY_S, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(strict=True, ge=0, le=_DAY_S, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(strict=True, ge=1, le=int(_DAY_S) * 1000)]
Megabytes = Annotated[int, Field(strict=True, ge=1, le=1_048_576)]
OnClientGone = Literal["cancel", "finish"]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
