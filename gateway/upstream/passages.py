"""Which passage an attempt takes."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstream.job import Job
from gateway.upstream.messages_passage import MESSAGES_PASSAGE
from gateway.upstream.passage import Passage
from gateway.upstream.straight import STRAIGHT, Straight
from gateway.upstream.target import Target
from gateway.upstream.translation import Fetch, Translation
from gateway.wire.lacking import settle_lacking

_FOREIGN = frozenset({"reasoning_content", "reasoning_details", "cache_control", "images"})


class StraightWithout(Straight):
    """The passage of one attempt whose request has fields that the target lacks."""

    __slots__ = ("dropped",)

    def __init__(self) -> None:
        self.dropped: Sequence[str] = ()

    def encode(self, job: Job, target: Target) -> bytes:
        """The request without them. Raises unsupported_parameter for one that changes what is meant."""
        document = job.document
        taken = frozenset(document) - target.variations.unsupported
        who = f"the provider '{target.provider}'"
        self.dropped = settle_lacking(document, taken, target.policy, who)
        return super().encode(job, target)


class Passages:
    """Chooses by what client and target speak. `fetch` gets what a provider does not fetch itself."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def __call__(self, job: Job, target: Target) -> Passage:
        """The bytes pass where both speak the same, and nothing in them is another provider's."""
        inbound = job.endpoint.inbound
        account = target.account
        dialect = account.dialect
        if inbound is None:
            operation = job.endpoint.operation
            if dialect is not None and operation not in dialect.operations and operation in account.paths:
                return STRAIGHT  # a provider with a format of its own has this one in OpenAI's
            if dialect is None and (account.keeps_foreign or not _has_foreign(job)):
                lacking = account.variations.unsupported
                return StraightWithout() if lacking and not lacking.isdisjoint(job.document) else STRAIGHT
        elif dialect is not None and inbound.name == dialect.name:
            return MESSAGES_PASSAGE
        return Translation(job.speech, dialect or account.openai_dialect, self._fetch)


def _has_foreign(job: Job) -> bool:
    """Does the body hold what other providers' answers bring along and a client sends back? Written out: this runs for
    every request to OpenAI and many of its like, which refuse it."""
    if job.flat:
        return not _FOREIGN.isdisjoint(job.document)
    body = job.body
    return job.endpoint.operation == "chat" and (
        body.find(b'"reasoning_content"') >= 0  # `in` takes three times as long (CPython tries an integer first)
        or body.find(b'"reasoning_details"') >= 0
        or body.find(b'"cache_control"') >= 0
        or body.find(b'"images"') >= 0
    )
