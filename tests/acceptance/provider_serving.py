"""A gateway in front of every provider type that can be had here: llmock's ten, and the servers of our own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai import OpenAI

from tests.acceptance.gateway_process import GatewayProcess, gateway
from tests.acceptance.served import Served, Upstream, call, llmock
from tests.servers import compatible
from tests.servers.azure import AzureServer
from tests.servers.bedrock import BedrockServer
from tests.servers.compatible import CompatibleServer
from tests.servers.huggingface import HuggingFaceServer
from tests.servers.ollama import OllamaServer
from tests.servers.palm import PalmServer
from tests.servers.serving import Server

# Where llmock has each provider's API: what would follow the host in a base URL.
MOCKED = {
    "openai": "/v1",
    "anthropic": "/anthropic/v1",
    "gemini": "/gemini/v1beta",
    "cohere": "/cohere",
    "ai21": "/ai21/v1",
    "mistral": "/mistral/v1",
    "groq": "/groq/openai/v1",
    "together": "/together/v1",
    "xai": "/xai/v1",
    "perplexity": "/perplexity/v1",
}
# The provider's own name for the model that clients know by the provider's.
_MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-pro",
    "cohere": "command-a-03-2025",
    "ai21": "jamba-large",
    "mistral": "mistral-large-latest",
    "groq": "llama-3.3-70b-versatile",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "xai": "grok-4",
    "perplexity": "sonar",
}
# What a key that was refused or slowed down keeps others from is no concern of theirs: accounts of their own.
SPARE_ACCOUNTS = ("slow", "refused")
# Name of the model for clients: the account, and the account's own name for it.
OWN_MODELS = {
    "ollama": ("ollama", "llama3.2:3b"),
    "ollama-old": ("ollama", "old"),
    "ollama-missing": ("ollama", "missing"),
    "ollama-breaks": ("ollama", "breaks"),
    "ollama-cut": ("ollama", "cut"),
    "ollama-wrong-key": ("ollama_stranger", "llama3.2:3b"),
    "ollama-embed": ("ollama", "nomic-embed-text:latest"),
    "huggingface": ("huggingface", "meta-llama/Llama-3.3-70B-Instruct"),
    "huggingface-tgi": ("huggingface", "tgi"),
    "huggingface-missing": ("huggingface", "missing"),
    "huggingface-busy": ("huggingface_busy", "busy"),
    "huggingface-breaks": ("huggingface", "breaks"),
    "huggingface-cut": ("huggingface", "cut"),
    "huggingface-wrong-key": ("huggingface_stranger", "tgi"),
    "huggingface-embed": ("huggingface", "BAAI/bge-small-en-v1.5"),
    "azure": ("azure", "gpt-4o"),
    "azure-v1": ("azure_v1", "gpt-4o"),
    "azure-entra": ("azure_entra", "gpt-4o"),
    "azure-entra-refused": ("azure_entra_refused", "gpt-4o"),
    "azure-throttled": ("azure_throttled", "throttled"),
    "azure-missing": ("azure", "nobody"),
    "azure-embed": ("azure", "embedding"),
    "azure-wrong-key": ("azure_stranger", "gpt-4o"),
    "bedrock": ("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0"),
    "bedrock-bearer": ("bedrock_bearer", "amazon.nova-micro-v1:0"),
    "bedrock-throttled": ("bedrock", "throttled"),
    "bedrock-too-long": ("bedrock", "too-long"),
    "bedrock-denied": ("bedrock", "denied"),
    "bedrock-broken-off": ("bedrock", "broken-off"),
    "bedrock-titan": ("bedrock", "amazon.titan-embed-text-v2:0"),
    "bedrock-cohere": ("bedrock", "cohere.embed-english-v3"),
    "bedrock-wrong-key": ("bedrock_stranger", "amazon.nova-micro-v1:0"),
    "palm": ("palm", "chat-bison-001"),
    "palm-text": ("palm", "text-bison-001"),
    "palm-embed": ("palm", "embedding-gecko-001"),
    "palm-wrong-key": ("palm_stranger", "chat-bison-001"),
}
for _kind, _made in compatible.KINDS.items():
    OWN_MODELS[_kind] = OWN_MODELS[f"{_kind}-embed"] = (_kind, _made.model)
    OWN_MODELS[f"{_kind}-missing"] = (_kind, compatible.MISSING)
    OWN_MODELS[f"{_kind}-short"] = (_kind, compatible.SHORT)
    OWN_MODELS[f"{_kind}-wrong-key"] = (f"{_kind}_stranger", _made.model)
INPUT_USD_PER_MTOK = 1.0
OUTPUT_USD_PER_MTOK = 3.0
_PRICE = {"input_usd_per_mtok": INPUT_USD_PER_MTOK, "output_usd_per_mtok": OUTPUT_USD_PER_MTOK}
_BEARER = "bedrock-api-key-for-tests-0123456789"
_SECRETS = {
    "T_MOCK": "mock-key-0123456789",
    "T_WRONG": "wrong-key-0123456789",
    "T_OLLAMA": "ollama-key-0123456789",
    "T_HF": "hf_tests",
    "T_AZURE": "azure-key-0123456789",
    "T_ENTRA": "client-secret-1",
    "T_AWS_ID": "AKIDEXAMPLE",
    "T_AWS_SECRET": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "T_BEARER": _BEARER,
    "T_PALM": "AIzaPalmKeyForTests0123456789",
    "T_COMPATIBLE": compatible.KEY,
}
_REST: dict[str, Any] = {
    "server": {"drain_grace_s": 0.1, "drain_timeout_s": 5},
    "upstream": {"connect_timeout_s": 5, "first_byte_timeout_s": 20, "idle_timeout_s": 2, "total_timeout_s": 60},
    "retries": {"attempts": 2, "base_delay_ms": 1, "max_delay_ms": 10, "budget_min": 1000},
    "breaker": {"consecutive_failures": 1000, "min_requests": 100_000},
    "ledger": {"copy_interval_ms": 50},
}


@dataclass
class OwnServers:
    """Our own servers, served by a thread of their own."""

    ollama: OllamaServer = field(default_factory=lambda: OllamaServer(api_key=_SECRETS["T_OLLAMA"]))
    huggingface: HuggingFaceServer = field(default_factory=HuggingFaceServer)
    azure: AzureServer = field(default_factory=AzureServer)
    bedrock: BedrockServer = field(default_factory=lambda: BedrockServer(bearer=_BEARER))
    palm: PalmServer = field(default_factory=PalmServer)
    compatible: CompatibleServer = field(default_factory=CompatibleServer)

    @property
    def all(self) -> list[Server]:
        """Each of them."""
        return [self.ollama, self.huggingface, self.azure, self.bedrock, self.palm, self.compatible]


@dataclass
class Provided(Served):
    """The gateway, llmock (in `mock` and `fake` alike) and our own servers."""

    own: OwnServers

    def openai(self) -> OpenAI:
        """OpenAI's SDK, as a user would make it."""
        return OpenAI(base_url=self.v1, api_key=self.key, max_retries=0)

    def bodies(self) -> list[Any]:
        """The requests that llmock has had since `script`, in order."""
        _, _, seen = call("GET", self.mock.url + "/_llmock/requests")
        return [record["body"] for record in seen["requests"]]


def shown(features: str, *providers: str) -> list[Any]:
    """Parameters: each of `providers`, marked as shown to have `features` (several with commas between)."""
    return [
        pytest.param(provider, marks=[pytest.mark.shows(provider, feature) for feature in features.split(", ")])
        for provider in providers
    ]


@contextlib.contextmanager
def _running(servers: list[Server]) -> Iterator[None]:
    """Serve them from a loop in a thread, for as long as the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="own servers", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(20)

    try:
        for server in servers:
            wait(server.start())
        yield
    finally:
        for server in servers:
            wait(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def _mocked_accounts(mock_url: str) -> dict[str, Any]:
    """Three accounts of each of llmock's providers."""
    return {
        "_".join((kind, *spare)): {"type": kind, "base_url": mock_url + path, "api_key": "env:T_MOCK"}
        for kind, path in MOCKED.items()
        for spare in ((), *((name,) for name in SPARE_ACCOUNTS))
    }


def _own_accounts(own: OwnServers) -> dict[str, Any]:
    entra = {"tenant_id": "tenant-1", "client_id": "client-1"}
    azure = {"type": "azure", "base_url": own.azure.base_url}
    bedrock = {"type": "bedrock", "base_url": own.bedrock.base_url}
    signed = {"access_key_id": "env:T_AWS_ID", "region": "us-east-1"}
    ollama = {"type": "ollama", "base_url": own.ollama.base_url}
    huggingface = {"type": "huggingface", "base_url": own.huggingface.base_url}
    palm = {"type": "palm", "base_url": own.palm.base_url + "/v1beta2"}
    compatibles = {
        f"{kind}{spare}": {"type": kind, "base_url": own.compatible.base_url + made.path, "api_key": key}
        for kind, made in compatible.KINDS.items()
        for spare, key in (("", "env:T_COMPATIBLE"), ("_stranger", "env:T_WRONG"))
    }
    return {
        **compatibles,
        "ollama": {**ollama, "api_key": "env:T_OLLAMA"},
        "ollama_stranger": {**ollama, "api_key": "env:T_WRONG"},
        "huggingface": {**huggingface, "api_key": "env:T_HF"},
        "huggingface_busy": {**huggingface, "api_key": "env:T_HF"},
        "huggingface_stranger": {**huggingface, "api_key": "env:T_WRONG"},
        "azure": {**azure, "api_key": "env:T_AZURE"},
        "azure_v1": {**azure, "type": "azure_v1", "api_key": "env:T_AZURE"},
        "azure_throttled": {**azure, "api_key": "env:T_AZURE"},
        "azure_stranger": {**azure, "api_key": "env:T_WRONG"},
        "azure_entra": {**azure, **entra, "client_secret": "env:T_ENTRA"},
        "azure_entra_refused": {**azure, **entra, "client_secret": "env:T_WRONG"},
        "bedrock": {**bedrock, **signed, "secret_access_key": "env:T_AWS_SECRET"},
        "bedrock_bearer": {**bedrock, "region": "us-east-1", "api_key": "env:T_BEARER"},
        "bedrock_stranger": {**bedrock, **signed, "secret_access_key": "env:T_WRONG"},
        "palm": {**palm, "api_key": "env:T_PALM"},
        "palm_stranger": {**palm, "api_key": "env:T_WRONG"},
    }


def _declared(name: str, provider: str, model: str) -> dict[str, Any]:
    return {"name": name, "targets": [{"provider": provider, "model": model}], "price": _PRICE}


def _config(mock_url: str, own: OwnServers) -> bytes:
    """The configuration file; YAML takes JSON."""
    models = [_declared(kind, kind, _MODELS[kind]) for kind in MOCKED]
    models += [
        _declared(f"{kind}-{spare}", f"{kind}_{spare}", _MODELS[kind]) for kind in MOCKED for spare in SPARE_ACCOUNTS
    ]
    models += [_declared(name, provider, model) for name, (provider, model) in OWN_MODELS.items()]
    for model in models:
        if model["name"].endswith("-short"):
            model["context_fallbacks"] = [model["name"].removesuffix("-short")]
    models.append(_declared("openai-embed", "openai", "text-embedding-3-small"))
    models.append(_declared("lacking", "lacking", "m"))
    providers = {**_mocked_accounts(mock_url), **_own_accounts(own)}
    providers["lacking"] = {**providers["openai"], "unsupported": ["logit_bias", "n"], "lacking": {"n": "refuse"}}
    return orjson.dumps({**_REST, "providers": providers, "models": models})


@contextlib.contextmanager
def serving_providers() -> Iterator[Provided]:
    """All of it, stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))  # short: sockets live under it
    mock: Upstream = llmock("--stream-chunk-delay-ms", "1")
    own = OwnServers()
    try:
        mock.launch()
        with _running(own.all):
            config = folder / "gateway.yaml"
            config.write_bytes(_config(mock.url, own))
            env = {**_SECRETS, "AZURE_AUTHORITY_HOST": own.azure.base_url}
            running: GatewayProcess
            with gateway(folder / "home", config, env=env) as running:
                mock.wait()
                provided = Provided(running, mock, mock, "", own)
                provided.key = provided.make_key()["key"]
                yield provided
    finally:
        mock.kill()
        shutil.rmtree(folder, ignore_errors=True)
