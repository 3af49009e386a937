"""A configuration on disk, and the names that a gateway would hand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.settings import Mistake, Settings, SettingsError, load

TYPES = ("openai", "demo", "groq")
STAGES = {"authenticate": False, "choose_route": False, "meter": True}

Load = Callable[..., Settings]
Mistakes = Callable[..., list[Mistake]]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Write the text as gateway.yaml, more files beside it, and load."""

    def read(
        text: str | bytes, files: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> Settings:
        for name, content in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        path = tmp_path / "gateway.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, environ or {}, TYPES, STAGES)

    return read


@pytest.fixture
def mistakes_in(load_text: Load) -> Mistakes:
    """The mistakes of a text that must not load."""

    def read(text: str | bytes, files: Mapping[str, str] | None = None) -> list[Mistake]:
        with pytest.raises(SettingsError) as caught:
            load_text(text, files)
        assert caught.value.mistakes
        return list(caught.value.mistakes)

    return read
