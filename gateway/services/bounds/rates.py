"""The dearest prices that a request can reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from gateway.providers.price import Price
from gateway.wire.dialect import Document

# Words of `service_tier` that mean the plain price. Any other may end in the dearest: `auto` is whatever the account
# has been set to, https://platform.openai.com/docs/guides/priority-processing (read 2026-11).
_PLAIN_TIERS: Final = (None, "default", "standard", "standard_only")
_HOUR: Final = b'"1h"'


def dearest_rates(
    price: Price, document: Document, prompt_tokens: int, *, media: bool, speaks: bool
) -> tuple[int, int]:
    """Pico-dollars for a token of the prompt and for one of the answer, at most.

    Every price counts that a prompt of up to `prompt_tokens` can be billed at: that of each context tier below it, and
    of each service tier where the request leaves that open. `media` says that there are images or sound in the prompt,
    `speaks` that the answer may be sound. A token may count as media and as cached at once, hence the sum. Writing to
    the cache for an hour has to be asked for (`ttl` in any `cache_control`).
    """
    if price.services is None and not price.tiers and not media and not speaks and price.cache_write_1h <= price.input:
        return max(price.input, price.cached, price.cache_write), max(price.output, price.reasoning, price.image_out)
    dearest_in = dearest_out = 0
    for_an_hour: bool | None = None  # not looked for unless it costs more
    for one in _reachable(price, document, prompt_tokens):
        rate = max(one.input, one.cached, one.cache_write)
        if one.cache_write_1h > rate:
            if for_an_hour is None:
                for_an_hour = _HOUR in orjson.dumps(document)
            if for_an_hour:
                rate = one.cache_write_1h
        if media:
            rate += max(one.audio_in - one.input, one.image_in - one.input, 0)
        if rate > dearest_in:
            dearest_in = rate
        rate = max(one.output, one.reasoning, one.image_out)
        if speaks:
            rate = max(rate, one.audio_out)
        if rate > dearest_out:
            dearest_out = rate
    return dearest_in, dearest_out


def _reachable(price: Price, document: Document, prompt_tokens: int) -> Iterator[Price]:
    yield price
    for above, tier in price.tiers:
        if prompt_tokens > above:
            yield tier
    services = price.services
    if services is None or document.get("service_tier") in _PLAIN_TIERS:
        return
    for service in services.values():
        yield service
        for above, tier in service.tiers:
            if prompt_tokens > above:
                yield tier
