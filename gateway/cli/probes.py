"""Which local providers answer on their usual port?"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from gateway.providers.provider import Provider
from gateway.providers.registry import PROVIDERS
from gateway.settings import Settings

_TIMEOUT_S = 0.3


async def local_providers(settings: Settings) -> list[str]:
    """The names of providers with a probe path, not declared in `settings`, that answer at their base URL."""
    asked = [known for known in PROVIDERS.values() if known.probe_path and known.name not in settings.providers]
    answers = await asyncio.gather(*(_answers(known) for known in asked))
    return [known.name for known, does in zip(asked, answers, strict=True) if does]


async def _answers(known: Provider) -> bool:
    url = urlsplit(known.base_url)
    request = f"GET {known.probe_path} HTTP/1.1\r\nhost: {url.netloc}\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return status.split(b" ")[1:2] == [b"200"]
