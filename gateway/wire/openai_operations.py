"""The operations of OpenAI's API that are passed through, as data.

https://platform.openai.com/docs/api-reference (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.wire.endpoint import Endpoint
from gateway.wire.openai_objects import BATCH, FILE, JOB, RESPONSE, UPLOAD


class Takes(Enum):
    """What a request's body is."""

    NOTHING = "nothing"
    JSON = "json"
    FORM = "form"
    FORM_OR_JSON = "form_or_json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path. `endpoint.name` is its word in metrics and logs, `word` the one that a key must name.

    `path` begins behind `/v1`; its `{id}` names an object of kind `about`. `makes` is the kind of object that the
    answer tells of, `lists` the kind it lists. `model` says whether the body names one ("" no, "may", "must").
    `raw` marks answers that need not be JSON, `metered` those that may cost something.
    """

    method: str
    path: str
    endpoint: Endpoint
    word: str
    takes: Takes = Takes.NOTHING
    about: str | None = None
    makes: str | None = None
    lists: str | None = None
    model: str = ""
    raw: bool = False
    metered: bool = False
    creates: bool = False


def _endpoint(name: str) -> Endpoint:
    return Endpoint(name, f"/v1/{name}", f"/{name}", name, "", streams=True)


RESPONSES, MODERATIONS, IMAGES, AUDIO = map(_endpoint, ("responses", "moderations", "images", "audio"))
FILES, UPLOADS, BATCHES, FINE_TUNING = map(_endpoint, ("files", "uploads", "batches", "fine_tuning"))

_STORED = "responses_stored"
_JOBS = "/fine_tuning/jobs"

CREATE_RESPONSE = Operation(
    "POST", "/responses", RESPONSES, "responses", Takes.JSON, makes=RESPONSE, model="must", metered=True
)


def _answers() -> tuple[Operation, ...]:
    """Endpoints that answer and forget."""
    form, form_or_json, json = Takes.FORM, Takes.FORM_OR_JSON, Takes.JSON
    images, audio = IMAGES, AUDIO
    return (
        CREATE_RESPONSE,
        Operation("POST", "/moderations", MODERATIONS, "moderations", json, model="may", metered=True),
        Operation("POST", "/images/generations", images, "images", json, model="may", metered=True),
        Operation("POST", "/images/edits", images, "images", form_or_json, model="may", metered=True),
        Operation("POST", "/images/variations", images, "images", form, model="may", metered=True),
        Operation("POST", "/audio/speech", audio, "audio", json, model="must", raw=True, metered=True),
        Operation("POST", "/audio/transcriptions", audio, "audio", form, model="must", raw=True, metered=True),
        Operation("POST", "/audio/translations", audio, "audio", form, model="must", raw=True, metered=True),
    )


def _files() -> tuple[Operation, ...]:
    return (
        Operation("POST", "/files", FILES, "files", Takes.FORM, makes=FILE, creates=True),
        Operation("GET", "/files", FILES, "files", lists=FILE),
        Operation("GET", "/files/{id}", FILES, "files", about=FILE, makes=FILE),
        Operation("DELETE", "/files/{id}", FILES, "files", about=FILE),
        Operation("GET", "/files/{id}/content", FILES, "files", about=FILE, raw=True),
        Operation("POST", "/uploads", UPLOADS, "uploads", Takes.JSON, makes=UPLOAD, creates=True),
        Operation("POST", "/uploads/{id}/parts", UPLOADS, "uploads", Takes.FORM, about=UPLOAD, creates=True),
        Operation("POST", "/uploads/{id}/complete", UPLOADS, "uploads", Takes.JSON, about=UPLOAD, makes=UPLOAD),
        Operation("POST", "/uploads/{id}/cancel", UPLOADS, "uploads", about=UPLOAD, makes=UPLOAD),
    )


def _jobs() -> tuple[Operation, ...]:
    json = Takes.JSON
    return (
        Operation("POST", "/batches", BATCHES, "batches", json, makes=BATCH, metered=True, creates=True),
        Operation("GET", "/batches", BATCHES, "batches", lists=BATCH),
        Operation("GET", "/batches/{id}", BATCHES, "batches", about=BATCH, makes=BATCH),
        Operation("POST", "/batches/{id}/cancel", BATCHES, "batches", about=BATCH, makes=BATCH),
        Operation("POST", _JOBS, FINE_TUNING, "fine_tuning", json, makes=JOB, model="must", metered=True, creates=True),
        Operation("GET", _JOBS, FINE_TUNING, "fine_tuning", lists=JOB),
        Operation("GET", f"{_JOBS}/{{id}}", FINE_TUNING, "fine_tuning", about=JOB, makes=JOB),
        *(
            Operation("GET", f"{_JOBS}/{{id}}/{part}", FINE_TUNING, "fine_tuning", about=JOB)
            for part in ("events", "checkpoints")
        ),
        *(
            Operation("POST", f"{_JOBS}/{{id}}/{verb}", FINE_TUNING, "fine_tuning", about=JOB, makes=JOB)
            for verb in ("cancel", "pause", "resume")
        ),
    )


def _stored_responses() -> tuple[Operation, ...]:
    return (
        Operation("GET", "/responses/{id}", RESPONSES, _STORED, about=RESPONSE, makes=RESPONSE),
        Operation("DELETE", "/responses/{id}", RESPONSES, _STORED, about=RESPONSE),
        Operation("POST", "/responses/{id}/cancel", RESPONSES, _STORED, about=RESPONSE, makes=RESPONSE),
        Operation("GET", "/responses/{id}/input_items", RESPONSES, _STORED, about=RESPONSE),
    )


OPERATIONS: tuple[Operation, ...] = (*_answers(), *_stored_responses(), *_files(), *_jobs())
