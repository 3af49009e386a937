"""Rows and the settings' own objects: a provider's plain part as JSON, its secrets apart, and a model as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from gateway.errors import GatewayError
from gateway.settings import Model, Provider, Secret, Settings, dump

Document = dict[str, Any]

# Fields of a provider that are a secret each; `api_keys` and `headers` hold several.
SECRET_FIELDS = ("api_key", "client_secret", "access_key_id", "secret_access_key", "session_token", "credentials")
# They decide, with the type, where the secrets are sent.
PLACE_FIELDS = ("base_url", "region", "project", "tenant_id")
_APART = frozenset({*SECRET_FIELDS, "api_keys", "headers", "type", "base_url"})


@dataclass(frozen=True, slots=True)
class ProviderForm:
    """What the admin API was told of a provider. `fields` are plain, as in YAML; `secrets` holds by field their
    values: a text, for `api_keys` a list of `{"key", "weight"}`, for `headers` names and values.
    """

    type: str
    base_url: str | None = None
    enabled: bool = True
    fields: Document = field(default_factory=dict)
    secrets: Document = field(default_factory=dict, repr=False)

    def changed(self, changes: Mapping[str, Any]) -> ProviderForm:
        """With `changes` by field; None takes a field away. `api_key` and `api_keys` replace each other.

        Raises GatewayError missing_field where the secrets would be sent elsewhere and are not given again.
        """
        fields, secrets = dict(self.fields), dict(self.secrets)
        for name, value in changes.items():
            if name not in ("base_url", "enabled"):
                held = secrets if name in _APART else fields
                held.pop(name, None)
                if value is not None and value not in ({}, []):
                    held[name] = value
        for name, other in (("api_key", "api_keys"), ("api_keys", "api_key")):
            if changes.get(name) and other not in changes:
                secrets.pop(other, None)
        made = ProviderForm(
            self.type, changes.get("base_url", self.base_url), changes.get("enabled", self.enabled), fields, secrets
        )
        self._demand_secrets(made, changes)
        return made

    def _demand_secrets(self, made: ProviderForm, changes: Mapping[str, Any]) -> None:
        """An administrator who does not know a secret must not be able to have it sent to a server of theirs."""
        moved = [name for name in PLACE_FIELDS if self._place(name) != made._place(name)]
        for name in self.secrets:
            if moved and name in made.secrets and name not in changes:
                raise GatewayError(
                    "missing_field",
                    f"`{moved[0]}` decides where `{name}` is sent, so `{name}` must be given again (or null).",
                    param=name,
                )

    def _place(self, name: str) -> Any:
        return self.base_url if name == "base_url" else self.fields.get(name)

    def provider(self) -> Provider:
        """As the configuration would have declared it, but that nothing is ever taken from the environment.

        Raises GatewayError invalid_field.
        """
        data: Document = {**self.fields, "type": self.type, "base_url": self.base_url}
        for name in SECRET_FIELDS:
            data[name] = Secret("stored", self.secrets[name]) if name in self.secrets else Secret("none")
        if "api_keys" in self.secrets:
            data["api_keys"] = [{**key, "key": Secret("stored", key["key"])} for key in self.secrets["api_keys"]]
            if "api_key" not in self.secrets:
                del data["api_key"]
        data["headers"] = {name: Secret("stored", value) for name, value in self.secrets.get("headers", {}).items()}
        try:
            return Provider.model_validate(data)
        except ValidationError as error:
            raise _refusal(error) from None


def provider_document(provider: Provider) -> Document:
    """A provider as JSON, secrets as their references; what is unset, and `none`, is left out."""
    copied = Settings().model_copy(update={"providers": {"one": provider}})
    return {name: value for name, value in _compact(dump(copied)["providers"]["one"]).items() if value != "none"}


def plain_fields(document: Mapping[str, Any]) -> Document:
    """Those fields of a provider's document that are no secret and have no column of their own."""
    return {name: value for name, value in document.items() if name not in _APART}


def model_document(model: Model) -> Document:
    """A model as JSON, without what is unset."""
    found: Document = _compact(dump(Settings().model_copy(update={"models": (model,)}))["models"][0])
    return found


def read_model(data: Mapping[str, Any]) -> Model:
    """The model that a document describes. Raises GatewayError invalid_field or missing_field."""
    try:
        return Model.model_validate(dict(data))
    except ValidationError as error:
        raise _refusal(error) from None


def _compact(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _compact(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item is not None and item not in ({}, [])}
    return [_compact(item) for item in value] if isinstance(value, list) else value


def _refusal(error: ValidationError) -> GatewayError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part != "[key]")[:200]
    if first["type"] == "missing":
        return GatewayError("missing_field", f"`{place}` is missing.", param=place)
    reason = first["msg"].removeprefix("Value error, ")
    return GatewayError("invalid_field", f"`{place}`: {reason}" if place else reason, param=place or None)
