"""Limits that the configuration declares: of everybody together, of a model, of a provider, of a target."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.section import Section

# Far above any use, and far below what Valkey's scripts count exactly (2^53).
MOST_A_LIMIT = 1_000_000_000_000

_Number = Annotated[int, Field(strict=True, ge=0, le=MOST_A_LIMIT)]


class Limits(Section):
    """How many requests, tokens and requests at once are let through. What is not given is not limited; 0 is none."""

    requests_per_minute: _Number | None = Field(default=None, description="requests in a minute")
    requests_per_hour: _Number | None = Field(default=None, description="requests in an hour")
    requests_per_day: _Number | None = Field(default=None, description="requests in a day")
    tokens_per_minute: _Number | None = Field(default=None, description="prompt and completion tokens in a minute")
    tokens_per_hour: _Number | None = Field(default=None, description="prompt and completion tokens in an hour")
    tokens_per_day: _Number | None = Field(default=None, description="prompt and completion tokens in a day")
    max_concurrency: _Number | None = Field(default=None, description="requests at once")
    on_store_failure: Literal["deny", "allow", "local"] = Field(
        default="local",
        description="while Valkey is away: refuse, let all through, or go on with this worker's share",
    )
