"""Asks a provider which models it has, now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urlsplit

from gateway.providers.provider import Provider
from gateway.upstream.attempt import WholeAnswer
from gateway.upstream.connection import Limits
from gateway.upstream.credentials.fetch import Fetch
from gateway.upstream.key_ring import ProviderKey
from gateway.upstream.retries import retry_after_s
from gateway.upstream.target import Account
from gateway.wire.dialects import find_dialect
from gateway.wire.openai_dialect import model_ids
from gateway.wire.openai_error import read_error

_LONGEST_S = 20.0
_MAX_ANSWER_BYTES = 16_777_216
_DEMO_MODELS = ("demo",)


async def list_models(account: Account, known: Provider, fetch: Fetch, key: ProviderKey | None = None) -> list[str]:
    """The provider's own names of its models, sorted. Takes 20 seconds at most.

    Where the type's `models_path` is a whole URL, `fetch` goes there, with `key` and none of the account's other
    headers. Raises GatewayError as any call to the provider does.
    """
    if account.local:
        return list(_DEMO_MODELS)
    named = {name: quote(value, safe="") for name, value in account.options.items()}
    url = known.models_path.format_map({**named, "model": ""})
    elsewhere = "://" in url
    host = urlsplit(url).netloc if elsewhere else account.host.decode()
    path = url.partition(host)[2] if elsewhere else account.base_path + url
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in (key.headers if key else {}).items()]
    if account.credentials is not None:
        lines += await account.credentials.headers("GET", path, host, b"")
    if elsewhere:
        status, body = await fetch("GET", url, [(name.decode(), value.decode("latin-1")) for name, value in lines], b"")
        retry_s = None
    else:
        answer = await _exchange(account, account.head_at("GET", path, lines) + b"\r\n")
        status, body, retry_s = answer.status, answer.body, retry_after_s(answer.headers)
    return _read(account.name, known, status, body, retry_s)


def _read(provider: str, known: Provider, status: int, body: bytes, retry_s: float | None) -> list[str]:
    is_openai = known.dialect == "openai"
    if not 200 <= status < 300:
        read = read_error if is_openai else find_dialect(known.dialect).read_error
        raise read(provider, status, body, retry_after_s=retry_s)
    names = model_ids(body) if is_openai else find_dialect(known.dialect).read_models(body)
    return sorted(set(names))


async def _exchange(account: Account, head: bytes) -> WholeAnswer:
    loop = asyncio.get_running_loop()
    limits = shortened(account.limits, _LONGEST_S)
    limits = replace(limits, max_body_bytes=min(limits.max_body_bytes, _MAX_ANSWER_BYTES))
    deadline = loop.time() + limits.total_s
    connection = account.line.take() or await account.line.connect(limits, deadline)
    answer = WholeAnswer(loop)
    connection.send(head, b"", answer, limits, deadline)
    try:
        await answer.waiter
    except BaseException:
        if not answer.ended:
            connection.abort()
        raise
    if answer.error is not None:
        raise answer.error
    return answer


def shortened(limits: Limits, longest_s: float) -> Limits:
    """`limits` for somebody who waits for the answer at a desk: none longer than `longest_s`."""
    return replace(
        limits,
        connect_s=min(limits.connect_s, longest_s),
        first_byte_s=min(limits.first_byte_s, longest_s),
        idle_s=min(limits.idle_s, longest_s),
        total_s=min(limits.total_s, longest_s),
    )


def hide_secrets(message: str, secrets: Sequence[str]) -> str:
    """`message` with each of `secrets` blotted out: a provider's error may quote what it was sent."""
    for secret in secrets:
        if secret:
            message = message.replace(secret, "…")
    return message
