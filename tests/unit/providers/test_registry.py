"""Every built-in provider type: complete, and naming only fields that clients send."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gateway.providers
from gateway.providers.provider import NoAuth, Provider
from gateway.providers.registry import PROVIDERS, check
from gateway.wire.dialects import MODULES, find_dialect
from gateway.wire.lacking import CHAT_PARAMETERS
from gateway.wire.openai import CHAT, Variations, encode_request, read_request

FOLDER = Path(gateway.providers.__file__).parent
FILES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if path.stem not in ("__init__", "billing", "price", "provider", "registry")
)
COMPATIBLE = {
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "together": "TOGETHER_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
    "perplexity": "PERPLEXITY_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "nvidia_nim": "NVIDIA_API_KEY",
    "sambanova": "SAMBANOVA_API_KEY",
    "openai": "OPENAI_API_KEY",
    "vllm": "",
    "llamacpp": "",
    "lmstudio": "",
}


def test_every_file_s_provider_is_registered_under_its_own_name() -> None:
    assert sorted(PROVIDERS) == FILES
    for name in FILES:
        assert import_module(f"gateway.providers.{name}").PROVIDER is PROVIDERS[name]
        assert PROVIDERS[name].name == name


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_no_built_in_provider_names_a_field_that_nobody_sends(provider: Provider) -> None:
    check(provider)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_every_provider_has_a_dialect_and_an_address(provider: Provider) -> None:
    assert provider.dialect in {"openai", *MODULES}
    if provider.dialect != "openai":
        assert find_dialect(provider.dialect).operations
    url = urlsplit(provider.base_url)
    if provider.base_url and not provider.local:
        own_machine = url.hostname == "127.0.0.1"
        assert url.scheme == ("http" if own_machine else "https")
        assert not provider.base_url.endswith("/")
        assert bool(provider.probe_path) == own_machine
    assert provider.models_path.startswith(("/", "https://"))


@pytest.mark.parametrize("name", [*COMPATIBLE, "ai21", "cohere"])
def test_every_file_says_where_and_when_its_facts_were_read(name: str) -> None:
    story = import_module(f"gateway.providers.{name}").__doc__ or ""
    assert re.search(r"https://", story)
    assert re.search(r"read\s+2026-11", story)


@pytest.mark.parametrize(("name", "variable"), COMPATIBLE.items())
def test_compatible_providers_are_data_only(name: str, variable: str) -> None:
    provider = PROVIDERS[name]
    assert (provider.dialect, provider.auth.env) == ("openai", variable)
    assert isinstance(provider.auth, NoAuth) == (variable == "")
    assert provider.auth.headers("k") == {"authorization": "Bearer k"}
    assert provider.models_path == "/models"


def test_ports_of_local_servers_are_the_usual_ones_and_differ() -> None:
    ports = {name: urlsplit(PROVIDERS[name].base_url).port for name in ("vllm", "llamacpp", "lmstudio", "ollama")}
    assert ports == {"vllm": 8000, "llamacpp": 8080, "lmstudio": 1234, "ollama": 11434}


def test_what_a_provider_lacks_or_names_otherwise_is_applied_to_a_request() -> None:
    mistral = PROVIDERS["mistral"]
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"seed":7,"max_completion_tokens":5,'
        b'"user":"u","stream_options":{"include_usage":true}}'
    )
    variations = Variations(mistral.unsupported, mistral.renamed, mistral.stream_usage)
    sent = encode_request(body, read_request(CHAT, body), "theirs", variations)
    assert sorted(re.findall(rb'"(\w+)":', sent)) == sorted(
        [b"model", b"messages", b"role", b"content", b"stream", b"random_seed", b"max_tokens"]
    )


def _with(change: dict[str, object]) -> Provider:
    made: Provider = replace(PROVIDERS["openai"], **change)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unsupported": frozenset({"logprob"})}, "unsupported: 'logprob'"),
        ({"renamed": {"max_token": "max_tokens"}}, "rename: 'max_token'"),
        ({"unsupported": frozenset({"seed"}), "renamed": {"seed": "random_seed"}}, "'seed' is unsupported too"),
    ],
)
def test_a_field_that_nobody_sends_is_a_mistake(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check(_with(change))


def test_canonical_fields_of_every_operation_are_known() -> None:
    check(_with({"unsupported": CHAT_PARAMETERS | {"dimensions", "top_n"}, "renamed": {"input_type": "task"}}))


def test_every_extra_that_a_provider_needs_is_one_of_the_packages() -> None:
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    extras = {name: known.extra for name, known in PROVIDERS.items() if known.extra is not None}
    assert sorted(extras) == ["bedrock", "litellm", "vertex"]
    for extra in extras.values():
        (requirement,) = project["optional-dependencies"][extra.name]
        assert re.match(r"[a-z-]+", requirement)[0].replace("-", ".") == extra.module  # type: ignore[index]
