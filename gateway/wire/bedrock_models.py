"""What Bedrock's models have and lack, told by the vendor and version in their names.

Facts: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html (read 2026-11).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Inference profiles put where they run before the vendor: us.anthropic.claude-…
_GEOGRAPHIES = frozenset({"af", "ap", "apac", "au", "ca", "eu", "global", "jp", "me", "sa", "us", "us-gov"})
_VENDORS = frozenset(
    {
        "ai21",
        "amazon",
        "anthropic",
        "cohere",
        "deepseek",
        "google",
        "meta",
        "minimax",
        "mistral",
        "moonshot",
        "moonshotai",
        "nvidia",
        "openai",
        "qwen",
        "writer",
        "zai",
    }
)
# claude-3-7-sonnet-20250219, claude-sonnet-4-5-20250929, claude-opus-4-6-v1, claude-opus-5: dates have eight digits.
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?![\d])")
_ALWAYS_STRUCTURED = frozenset({"google", "minimax", "moonshot", "moonshotai", "nvidia", "openai", "qwen", "zai"})
_STRUCTURED_MISTRALS = ("devstral", "magistral", "ministral", "mistral-large-3", "voxtral")
_STRUCTURED_CLAUDE = (4, 5)
_THINKING_CLAUDE = (3, 7)


@dataclass(frozen=True, slots=True)
class Family:
    """One model as far as its name tells. `vendor` is empty for an ARN that names none; `claude` is its version,
    (0, 0) for every other model.
    """

    vendor: str
    name: str
    claude: tuple[int, int] = (0, 0)

    @property
    def nova(self) -> bool:
        """Is it one of Amazon's Nova models?"""
        return self.vendor == "amazon" and self.name.startswith("nova")

    @property
    def structured(self) -> bool:
        """Does it take `outputConfig.textFormat` and strict tools?"""
        if self.vendor == "anthropic":
            return self.claude >= _STRUCTURED_CLAUDE
        if self.vendor == "mistral":
            return self.name.startswith(_STRUCTURED_MISTRALS)
        if self.vendor == "deepseek":
            return not self.name.startswith("r1")
        return self.vendor in _ALWAYS_STRUCTURED

    @property
    def forces_tools(self) -> bool:
        """Can it be made to call a tool? The open models answer `toolChoice` with an error."""
        return self.vendor in ("", "anthropic") or self.nova

    @property
    def thinks(self) -> bool:
        """Can its reasoning be steered?"""
        if self.vendor == "anthropic":
            return self.claude >= _THINKING_CLAUDE
        return self.vendor in ("openai", "qwen") or (self.nova and self.name.startswith("nova-2"))

    @property
    def one_call_at_a_time(self) -> bool:
        """Can it be kept from calling several tools at once? Older versions of Claude refuse the field."""
        return self.claude >= _STRUCTURED_CLAUDE

    @property
    def caches(self) -> bool:
        """Does it take cache points? The others refuse the request."""
        return self.vendor in ("", "anthropic") or self.nova

    @property
    def caches_tools(self) -> bool:
        """Does it take cache points behind tools? Nova does not."""
        return self.vendor in ("", "anthropic")

    @property
    def results_stand_alone(self) -> bool:
        """Must a turn with tool results hold nothing else?"""
        return self.vendor in ("meta", "mistral", "writer")

    @property
    def may_begin(self) -> bool:
        """May a conversation begin with the assistant's turn?"""
        return self.vendor in ("anthropic", "qwen")

    @property
    def reasoning_format(self) -> str:
        """Whose reasoning it is: Claude's signatures hold on every platform that serves it."""
        if self.vendor == "anthropic":
            return "anthropic-claude-v1"
        return f"bedrock-{self.vendor or 'converse'}-v1"


def family_of(model: str) -> Family:
    """What the id of a model, an inference profile or its ARN tells."""
    for part in reversed(model.split("/")):
        vendor, dot, name = part.partition(".")
        if vendor in _GEOGRAPHIES:
            vendor, dot, name = name.partition(".")
        if dot and vendor in _VENDORS:
            return Family(vendor, name, _claude_version(name) if vendor == "anthropic" else (0, 0))
    return Family("", model)


def _claude_version(name: str) -> tuple[int, int]:
    found = _CLAUDE.match(name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
