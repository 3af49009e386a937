"""The most that a request can cost at one target."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.providers.billing import Billing
from gateway.providers.price import Price
from gateway.services.bounds.content import PLAIN, Content, read_content
from gateway.services.bounds.fields import unbounded_field
from gateway.services.bounds.output import answer_count, least_cap, output_cap
from gateway.services.bounds.rates import dearest_rates
from gateway.services.bounds.texts import NOTHING_COUNTED, Counted
from gateway.wire.dialect import Document

PICO_PER_NANO: Final = 1000
# What is sent where neither the request nor the price map knows a cap: nearly every model can make as much.
CAP_WHERE_UNKNOWN: Final = 4096
# A search unit is a query with up to 100 documents; one of more than 500 tokens, the query's among them, counts once
# for each piece of that size, and a query takes half of a piece at most. https://cohere.com/pricing,
# https://docs.cohere.com/docs/reranking-best-practices (read 2026-11)
_DOCUMENTS_PER_SEARCH_UNIT: Final = 100
_TOKENS_PER_PIECE: Final = 244
# What may hold tools, or a schema for the answer.
_WITH_TOOLS: Final = frozenset({"functions", "output_config", "output_format", "response_format", "text", "tools"})


class Bound:
    """What a request can use and cost at most.

    `prompt_tokens` is the whole prompt, `answers` how many answers there are of `cap` tokens each. `cap_field` is the
    request's field that the cap is from; empty: the cap is the gateway's to send, or the provider may go beyond it.
    `input_pico_usd` and `output_pico_usd` are for a token, `search_pico_usd` is for all of the search.
    `unbounded` names what makes the rest of this meaningless, empty for nothing.
    """

    __slots__ = (
        "answers",
        "cap",
        "cap_field",
        "input_pico_usd",
        "least_cap",
        "output_pico_usd",
        "prompt_tokens",
        "search_pico_usd",
        "unbounded",
    )

    def __init__(
        self,
        *,
        prompt_tokens: int,
        answers: int,
        cap: int,
        cap_field: str,
        least_cap: int,
        input_pico_usd: int,
        output_pico_usd: int,
        search_pico_usd: int,
        unbounded: str,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.answers = answers
        self.cap = cap
        self.cap_field = cap_field
        self.least_cap = least_cap
        self.input_pico_usd = input_pico_usd
        self.output_pico_usd = output_pico_usd
        self.search_pico_usd = search_pico_usd
        self.unbounded = unbounded

    @property
    def token_bound(self) -> int:
        """Tokens of prompt and answers together."""
        return self.prompt_tokens + self.answers * self.cap

    @property
    def nano_usd(self) -> int:
        """The worst case, rounded up."""
        return self.nano_usd_at(self.cap)

    def nano_usd_at(self, cap: int) -> int:
        """The same with another output cap."""
        pico = (
            self.prompt_tokens * self.input_pico_usd + self.search_pico_usd + self.answers * cap * self.output_pico_usd
        )
        return -(-pico // PICO_PER_NANO)

    def affordable_cap(self, left_nano_usd: int) -> int | None:
        """The largest output cap, up to the present one, whose worst case is at most `left_nano_usd`.

        None where there is none: the prompt alone is too dear, or what is left is less than the endpoint can be asked
        for.
        """
        fixed_pico = self.prompt_tokens * self.input_pico_usd + self.search_pico_usd
        left_pico = left_nano_usd * PICO_PER_NANO - fixed_pico
        if left_pico < 0:
            return None
        each_pico = self.answers * self.output_pico_usd
        cap = min(left_pico // each_pico, self.cap) if each_pico else self.cap
        return cap if cap >= self.least_cap or not self.answers else None


def prompt_bound(body_bytes: int, billing: Billing) -> int:
    """Tokens that a prompt of plain text in `body_bytes` of JSON can be billed as at most.

    A token is at least one byte of text, and the JSON around each message has more bytes than a chat template puts
    tokens there; what is put before all of them is the provider's `fixed_overhead_tokens`.
    """
    return body_bytes * billing.prompt_tokens_per_byte + billing.fixed_overhead_tokens


def worst_case(
    document: Document,
    body_bytes: int,
    endpoint: str,
    price: Price,
    billing: Billing,
    model: str,
    counted: Counted = NOTHING_COUNTED,
    *,
    flat: bool = False,
) -> Bound:
    """The bound on a request of `body_bytes` to `model` at a provider that bills so; `endpoint` is its short name.

    `document` is the request in the form of that endpoint. Where history is put in by the gateway, that is the chat
    request with it, and `body_bytes` is its size as JSON. An answer that is asked for in several requests, one for
    each of `n`, is bounded by each of them on its own. Tokens of what is `counted` stand in the place of its bytes; the
    JSON around it stands for the fewer tokens that a chat template puts there. What is `flat` (wire/flat.py) holds text
    alone.
    """
    images = billing.image_bound(model)
    content = PLAIN if flat else read_content(document, images=images is not None, image_urls=billing.image_urls)
    prompt = prompt_bound(body_bytes - content.image_bytes - counted.size, billing) + counted.tokens
    prompt += content.images * (images or 0) + _tools_bound(document, billing)
    cap, field = output_cap(document, endpoint, price)
    answers, bad_count = answer_count(document, endpoint)
    bad_cap = field if cap is None else ""
    media, speaks = content.sound or content.images > 0, "audio" in document or "modalities" in document
    rate_in, rate_out = dearest_rates(price, document, prompt, media=media, speaks=speaks)
    return Bound(
        prompt_tokens=prompt,
        answers=answers,
        cap=CAP_WHERE_UNKNOWN if cap is None else cap,
        cap_field=field,
        least_cap=least_cap(endpoint),
        input_pico_usd=rate_in,
        output_pico_usd=rate_out,
        search_pico_usd=_search_units(document) * price.search_unit if price.search_unit else 0,
        unbounded=_unbounded(document, endpoint, content, billing, model) or bad_count or bad_cap,
    )


def _unbounded(document: Document, endpoint: str, content: Content, billing: Billing, model: str) -> str:
    if content.unbounded:
        return content.unbounded
    for part in billing.unbounded_models:
        if part in model:
            return "model"
    return unbounded_field(document, endpoint)


def _tools_bound(document: Document, billing: Billing) -> int:
    """Tokens that tools and a schema for the answer can add to what their bytes already count for; 0 without any."""
    if _WITH_TOOLS.isdisjoint(document):
        return 0
    again = billing.tools_tokens_per_byte - 1
    if not again:
        return billing.tools_overhead_tokens
    size = sum(len(orjson.dumps(document[name])) for name in _WITH_TOOLS.intersection(document))
    return billing.tools_overhead_tokens + again * size


def _search_units(document: Document) -> int:
    """What ranking the documents can be billed as at most; 0 where there are none."""
    documents = document.get("documents")
    if not isinstance(documents, list):
        return 0
    pieces = len(documents) + sum(len(orjson.dumps(one)) // _TOKENS_PER_PIECE for one in documents)
    return -(-pieces // _DOCUMENTS_PER_SEARCH_UNIT)
