"""What bodies and queries of the admin API are made of."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


def printable(text: str) -> str:
    """`text`, or ValueError where it has control characters."""
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _in_reach(moment: datetime) -> datetime:
    # At either end of Python's calendar a change of zone, or Postgres's own, overflows.
    if not 1970 <= moment.year < 9999:
        raise ValueError("must be between the years 1970 and 9998")
    return moment


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(printable)]
# Not strict: JSON has no UUIDs.
Id = Annotated[uuid.UUID, Field(strict=False)]

# A moment in a query: ISO 8601 with a zone, or Unix seconds.
Moment = Annotated[AwareDatetime, AfterValidator(_in_reach)]


class Body(BaseModel):
    """A body: a field that is not there is an error, and so is another type; errors never repeat a value."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Query(BaseModel):
    """A query: all values come as text."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Page(Query):
    """The query of a list; `after` is the last id of the page before."""

    after: uuid.UUID | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
