"""Secrets out of texts that are about to be logged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import orjson

MASK: Final = "***"

# A configured value shorter than this would mask parts of ordinary words.
_MIN_SECRET_CHARS: Final = 6

# Each pattern's first group is kept, for it says what was masked.
_PATTERNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # Keys by their vendors' prefixes: OpenAI and ours, Anthropic, Groq, xAI, Hugging Face, Google, AWS, GitHub.
        r"\b((?:sk|pk|rk|gsk|xai|nvapi|pplx|r8|hf|tgp|fw|csk)[-_])[A-Za-z0-9_\-]{8,}",
        r"\b(AIza)[A-Za-z0-9_\-]{20,}",
        r"\b(AKIA|ASIA)[A-Z0-9]{12,}",
        r"\b(gh[pousr]_)[A-Za-z0-9]{16,}",
        r"\b(eyJ)[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?",
        r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=\-]{4,}",
        r"""(?i)((?:api[-_]?key|authorization|password|passwd|secret|[a-z]+[-_]token)["']?\s*[:=]\s*b?["']?)"""
        r"""(?!(?:bearer|basic)\s)[^\s"',;&}]+""",
        r"(://[^/\s:@]*:)[^@/\s]+(?=@)",
    )
)


def _forms(secret: str) -> set[str]:
    """The secret as it is, as JSON has it inside a text (some writers escape `/`), and percent-encoded."""
    as_json = orjson.dumps(secret).decode()[1:-1]
    return {secret, as_json, as_json.replace("/", "\\/"), quote(secret, safe="")}


class Redactor:
    """Masks what looks like a credential, and the secrets it was given by value."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: re.Pattern[str] | None = None
        self.set_secrets(secrets)

    def set_secrets(self, secrets: Iterable[str]) -> None:
        """Mask these values from now on (a reload may bring others), also as JSON and as part of a URL; those under 6
        characters are left out."""
        long = [s for s in secrets if len(s) >= _MIN_SECRET_CHARS]
        worth = sorted({form for s in long for form in _forms(s)}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, worth))) if worth else None

    def __call__(self, text: str) -> str:
        """`text` with credentials replaced by `***`."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{MASK}", text)
        return text
