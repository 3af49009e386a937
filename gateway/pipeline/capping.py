"""The request of one attempt, as it is bounded and with the output cap that its budgets leave."""

from __future__ import annotations

import orjson

from gateway.pipeline.call import Call
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.output import with_cap
from gateway.upstream.target import Target
from gateway.wire.dialect import Document


def as_bounded(job: Call) -> tuple[Document, int, str]:
    """What is bounded: the request, its size as JSON, and the endpoint whose form it has."""
    canonical = job.canonical_document
    if canonical is not None and job.endpoint.name == "responses":  # earlier turns were put in
        return canonical, len(orjson.dumps(canonical)), "chat"
    return job.document, len(job.body), job.endpoint.name


def write_cap(job: Call, target: Target, cap: int) -> None:
    """Have the request ask for at most `cap` tokens an answer."""
    if job.uncapped is None:
        job.uncapped = job.body, job.document, job.canonical_document
    field = PROVIDERS[target.account.type].billing.cap_field(target.model)
    canonical = job.canonical_document
    if canonical is not None and job.endpoint.name == "responses":
        _, job.canonical_document = with_cap(b"", canonical, "chat", cap, field)
        return
    job.body, job.document = with_cap(job.body, job.document, job.endpoint.name, cap, field)
    job.canonical_document = None


def uncap(job: Call) -> None:
    """Have the request as its caller wrote it."""
    assert job.uncapped is not None
    job.body, job.document, job.canonical_document = job.uncapped
    job.uncapped = None
    if job.governed is not None:
        job.governed.clamped = 0
