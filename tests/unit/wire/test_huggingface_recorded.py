"""Recorded traffic of Hugging Face's router, read by its own dialect and compared by plain JSON paths."""

from __future__ import annotations

import pytest

from gateway.wire.huggingface import DIALECT
from tests.unit.wire.test_openai_dialect_recorded import exchanges, replay
from tests.wire_data import needs_recordings, place, recorded

pytestmark = needs_recordings

SKIPPED = {
    "pydantic/pydantic-ai:tests/models/cassettes/test_stream_close/"
    "test_cancel_recorded_provider_stream[huggingface].yaml#0": "asks the hub who serves a model: no model answers",
}


@pytest.mark.shows("huggingface", "chat")
@pytest.mark.shows("huggingface", "streaming")
@pytest.mark.shows("huggingface", "tools")
@pytest.mark.shows("huggingface", "parallel tools")
@pytest.mark.shows("huggingface", "tool choice")
@pytest.mark.shows("huggingface", "images")
@pytest.mark.shows("huggingface", "usage")
def test_every_recorded_exchange_comes_out_as_it_was_recorded() -> None:
    kinds = [replay(DIALECT, row) for row in exchanges("huggingface")]
    assert (kinds.count("whole"), kinds.count("stream"), len(kinds)) == (13, 1, 14)
    skipped = [place(row) for row in recorded("huggingface") if row not in exchanges("huggingface")]
    assert skipped == list(SKIPPED)
