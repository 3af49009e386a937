"""What each line of Claude models takes, as data: the Messages API refuses what a model has not with a 400.

From the tables of thinking, effort, structured outputs and forced tools in
https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, .../effort, .../structured-outputs
and the models' migration guides (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

# How a model is kept from thinking: it has no need to be told, by a word of its own, or not at all.
Off = Literal["", "disabled", "between_tools", "never"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model takes.

    `budget` and `adaptive` are the two ways to have it think; `unasked` says that it does so by itself, `off` how
    to stop that; `efforts` are its levels. `sampling` is temperature, top_p and top_k, `both_samplers` the first two
    together. `forced_tools` is a tool_choice that names a tool or demands one (never together with a budget);
    `structured` is output_config.format and strict tools. `binds` says that a thinking block that is sent back has to
    stand behind what it stood behind before (.../build-with-claude/preserved-thinking). `default_tokens` is
    max_tokens where nobody gives one, `max_tokens` the most that is safe to ask for.
    """

    budget: bool = False
    adaptive: bool = False
    unasked: bool = False
    off: Off = ""
    efforts: frozenset[str] = frozenset()
    sampling: bool = True
    both_samplers: bool = True
    forced_tools: bool = True
    structured: bool = False
    binds: bool = False
    default_tokens: int = 4096
    max_tokens: int = 4096


_FOUR_LEVELS = frozenset({"low", "medium", "high", "max"})
_FIVE_LEVELS = _FOUR_LEVELS | {"xhigh"}

_OLD = Traits()
_CLAUDE_3_5 = replace(_OLD, max_tokens=8192)
_BUDGET = Traits(budget=True, default_tokens=8192, max_tokens=64_000)
_OPUS_4 = replace(_BUDGET, max_tokens=32_000)
_OPUS_4_1 = replace(_OPUS_4, both_samplers=False)
_CLAUDE_4_5 = replace(_BUDGET, both_samplers=False, structured=True)
_CLAUDE_4_6 = Traits(
    budget=True,
    adaptive=True,
    efforts=_FOUR_LEVELS,
    both_samplers=False,
    structured=True,
    default_tokens=8192,
    max_tokens=64_000,
)
_OPUS_4_7 = replace(_CLAUDE_4_6, budget=False, efforts=_FIVE_LEVELS, sampling=False, max_tokens=128_000)
_CLAUDE_5 = replace(_OPUS_4_7, unasked=True, off="disabled", default_tokens=16_384)
_FABLE_5 = replace(_CLAUDE_5, off="never")
# The newest, and what a Claude model is taken for that is not listed yet.
_NEWEST = replace(_FABLE_5, forced_tools=False, binds=True)
_SONNET_5_5 = replace(_NEWEST, off="between_tools")

# The longest beginning that fits a name counts, its dots read as dashes. The second names of some models
# (claude-4-opus) and of those with the number in front (claude-3-5-sonnet) are as old as they look.
_BY_BEGINNING: dict[str, Traits] = {
    "claude-": _NEWEST,
    "claude-instant": _OLD,
    "claude-v": _OLD,
    "claude-1": _OLD,
    "claude-2": _OLD,
    "claude-3-": _OLD,
    "claude-3-5-": _CLAUDE_3_5,
    "claude-3-7-": _BUDGET,
    "claude-4-sonnet": _BUDGET,
    "claude-4-opus": _OPUS_4,
    "claude-sonnet-4": _BUDGET,
    "claude-opus-4": _OPUS_4,
    "claude-opus-4-1": _OPUS_4_1,
    "claude-opus-4-5": _CLAUDE_4_5,
    "claude-sonnet-4-5": _CLAUDE_4_5,
    "claude-haiku-4-5": _CLAUDE_4_5,
    "claude-opus-4-6": replace(_CLAUDE_4_6, max_tokens=128_000),
    "claude-sonnet-4-6": _CLAUDE_4_6,
    "claude-opus-4-7": _OPUS_4_7,
    "claude-opus-4-8": _OPUS_4_7,
    "claude-mythos-preview": replace(_FABLE_5, budget=True),
    "claude-opus-5": _CLAUDE_5,
    "claude-sonnet-5": _CLAUDE_5,
    "claude-fable-5": _FABLE_5,
    "claude-mythos-5": _FABLE_5,
    "claude-fable-5-1": _NEWEST,
    "claude-fable-5-2": _NEWEST,
    "claude-mythos-5-1": _NEWEST,
    "claude-mythos-5-2": _NEWEST,
    "claude-opus-5-5": _NEWEST,
    "claude-sonnet-5-5": _SONNET_5_5,
    "claude-haiku-5-5": replace(_CLAUDE_5, binds=True),
}
# What others serve who speak this format (DeepSeek, Moonshot, local servers): budgets, no structured outputs.
_OTHERS = replace(_BUDGET, max_tokens=32_000)
_LONGEST = max(map(len, _BY_BEGINNING))


def find_traits(model: str) -> Traits:
    """What `model` takes, by its name; a platform's prefix (`us.anthropic.`, `anthropic/`) and dots do no harm."""
    start = model.find("claude-")
    if start < 0:
        return _OTHERS
    name = model[start : start + _LONGEST].replace(".", "-")
    for length in range(len(name), 6, -1):
        found = _BY_BEGINNING.get(name[:length])
        if found is not None:
            return found
    return _NEWEST
