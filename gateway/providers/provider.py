"""The shape of a provider: what must be known to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.providers.billing import UNKNOWN_BILLS, Billing


@dataclass(frozen=True, slots=True)
class Bearer:
    """Authentication by `Authorization: Bearer <key>`; `env` is the key's usual environment variable."""

    env: str

    def headers(self, secret: str) -> dict[str, str]:
        """The headers that carry `secret`; none for an empty one (`api_key: none`)."""
        return {"authorization": f"Bearer {secret}"} if secret else {}


@dataclass(frozen=True, slots=True)
class NoAuth:
    """A provider that asks for no key."""

    env: str = ""

    def headers(self, secret: str) -> dict[str, str]:
        """A key given all the same is sent as a bearer token: proxies in front of local models want one."""
        return {"authorization": f"Bearer {secret}"} if secret else {}


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """Authentication by a header of the provider's own."""

    header: str
    env: str

    def headers(self, secret: str) -> dict[str, str]:
        """The header that carries `secret`; none for an empty one."""
        return {self.header: secret} if secret else {}


@dataclass(frozen=True, slots=True)
class Signed:
    """Authentication that is worked out for each request, or for an hour: see `upstream/credentials`.

    `scheme` is aws (SigV4), google (service account) or entra (client credentials). A plain key, where one is
    given, goes into `header` instead; `env` is that key's usual variable. `secrets` are the usual variables of what it
    signs with.
    """

    scheme: str
    env: str = ""
    header: str = "authorization"
    secrets: tuple[str, ...] = ()

    def headers(self, secret: str) -> dict[str, str]:
        """The header for a plain key; none for an empty one."""
        if not secret:
            return {}
        return {self.header: f"Bearer {secret}" if self.header == "authorization" else secret}


def usual_variables(auth: Bearer | NoAuth | HeaderKey | Signed) -> tuple[str, ...]:
    """The environment variables that a provider's secrets are usually in."""
    more = auth.secrets if isinstance(auth, Signed) else ()
    return (auth.env, *more) if auth.env else more


@dataclass(frozen=True, slots=True)
class Extra:
    """What a provider needs beside the base installation: `module`, which the gateway's extra called `name` brings.

    `unless_keyed`: not where a plain API key is given.
    """

    name: str
    module: str
    unless_keyed: bool = False

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install 'kubechat-gateway[{self.name}]'"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider type.

    `dialect` names its format (`wire/dialects.py`); `openai` are all who speak OpenAI's. `unsupported` are request
    fields to leave out, `renamed` those it calls otherwise; `stream_usage` says whether it takes
    `stream_options.include_usage`; `local` marks what answers without a network, and `probe_path` the path whose
    answer on the usual port switches it on. `headers` are always sent. `options` are the account options it
    knows with their defaults (empty: must be given, where the type is used). `paths` replace the usual ones of an
    OpenAI-type provider by operation, `models_path` is where it lists its models; both may name options and
    `{model}` in braces, as may `base_url`. `responses` says whether it has OpenAI's Responses API,
    `keeps_foreign` whether messages may hold what other providers' answers bring along (`reasoning_content`,
    `reasoning_details`, `cache_control`). `library` names the Python package that makes its calls, in place of the
    gateway's own connections; such a provider has no address of its own. `extra` is what has to be installed for it.
    `call_id_characters` is how many letters and digits the ids of tool calls must have, 0 for any. `billing` is what it
    may bill for at most.
    """

    name: str
    base_url: str
    auth: Bearer | NoAuth | HeaderKey | Signed
    dialect: str = "openai"
    unsupported: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    stream_usage: bool = True
    local: bool = False
    probe_path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    models_path: str = "/models"
    responses: bool = False
    keeps_foreign: bool = True
    library: str = ""
    extra: Extra | None = None
    call_id_characters: int = 0
    billing: Billing = UNKNOWN_BILLS
