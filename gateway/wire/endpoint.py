"""The paths that have the whole pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.wire.inbound import Inbound


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path that has the whole pipeline.

    `name` is its short name in metrics and logs, `path` the client's path, `upstream_path` what is appended to the
    base URL of a provider that speaks the same, `operation` what a dialect must have. `input_field` is the field that
    must be there, `streams` says whether it can stream. `inbound` is the API that its clients speak; None: OpenAI's,
    whose bytes pass. `word` is what a key's list of endpoints calls it, `aliases` are further paths.
    """

    name: str
    path: str
    upstream_path: str
    operation: str
    input_field: str
    streams: bool = False
    inbound: Inbound | None = None
    word: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All its paths."""
        return (self.path, *self.aliases)
