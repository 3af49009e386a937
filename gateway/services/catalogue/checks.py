"""What a provider that is made over the admin API must be, beyond what the configuration demands of one."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from gateway.errors import GatewayError
from gateway.providers.provider import Provider as ProviderType
from gateway.providers.provider import Signed
from gateway.providers.registry import check as check_type
from gateway.services.catalogue.forms import ProviderForm
from gateway.settings import Provider
from gateway.upstream.addresses import AddressRule

# What each scheme of `Signed` needs.
_SIGNED_BY = {
    "aws": ("access_key_id", "secret_access_key"),
    "entra": ("tenant_id", "client_id", "client_secret"),
    "google": ("credentials",),
}


def check_provider(form: ProviderForm, provider: Provider, known: ProviderType, rule: AddressRule) -> None:
    """Does the `provider` of `form` fit its type and the address rule?

    Raises GatewayError missing_field, invalid_field or address_not_allowed, naming the field.
    """
    if provider.base_url is not None:
        check_base_url(provider.base_url, rule)
    elif not known.base_url:
        raise GatewayError("missing_field", f"`base_url` must be given for the type '{form.type}'.", param="base_url")
    _check_fields(provider, known)
    _check_signed(form, known)


def check_base_url(base_url: str, rule: AddressRule) -> None:
    """Refuse one that can be seen to lead inside; a name is looked up when it is used, and judged then.

    Raises GatewayError address_not_allowed.
    """
    host = urlsplit(base_url).hostname or ""
    is_address = ":" in host or host.replace(".", "").isdigit()
    address = "127.0.0.1" if f".{host}".endswith(".localhost") else host if is_address else None
    reason = None if address is None else rule.refusal(host, address)
    if reason is not None:
        raise GatewayError(
            "address_not_allowed",
            f"`base_url`: its address is not allowed ({reason}) unless security.allow_private_upstreams lists it.",
            param="base_url",
        )


def _check_fields(provider: Provider, known: ProviderType) -> None:
    """What it lacks, or has by another name, must be fields that there are."""
    unsupported = known.unsupported if provider.unsupported is None else frozenset(provider.unsupported)
    renamed = known.renamed if provider.rename is None else provider.rename
    try:
        check_type(replace(known, unsupported=unsupported, renamed=renamed))
    except ValueError as error:
        raise GatewayError("invalid_field", str(error), param=str(error).partition(":")[0]) from None


def _check_signed(form: ProviderForm, known: ProviderType) -> None:
    """What signs its requests brings its own credentials: those of the machine are not an administrator's to use.

    Raises GatewayError missing_field.
    """
    if not isinstance(known.auth, Signed) or form.secrets.keys() & {"api_key", "api_keys"}:
        return
    given = form.secrets.keys() | form.fields.keys()
    missing = [name for name in _SIGNED_BY[known.auth.scheme] if name not in given]
    if missing:
        message = f"`{missing[0]}` must be given for the type '{form.type}'" + (
            " (or `api_key`)." if known.auth.env else "."
        )
        raise GatewayError("missing_field", message, param=missing[0])
