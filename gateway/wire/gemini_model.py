"""What a Gemini model's name tells: its generation, how it is told to think, and its place in an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.wire.checks import invalid

_GENERATION = re.compile(r"gemini-(?:[a-z]+-)*(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
_UNKNOWN = (0, 0)
THIRD = (3, 0)
_FIRST_THINKING = (2, 5)

# Budgets that Google's own OpenAI endpoint uses: https://ai.google.dev/gemini-api/docs/openai#thinking (read 2026-11).
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
# Least and most thinking tokens: https://ai.google.dev/gemini-api/docs/thinking#set-budget (read 2026-11).
_PRO_BUDGET = (128, 32768)
_LITE_BUDGET = (512, 24576)
_FLASH_BUDGET = (1, 24576)


def generation(model: str) -> tuple[int, int]:
    """The generation that the name tells, (2, 5) for `gemini-2.5-pro`; (0, 0) where it tells none (tuned models).

    The `-latest` names follow the newest models and count as the third.
    """
    found = _GENERATION.search(model)
    if found is not None:
        return int(found[1]), int(found[2] or 0)
    return THIRD if "gemini-" in model and model.endswith("-latest") else _UNKNOWN


def thinks(model: str) -> bool:
    """May this model be told how much to think? Models before 2.5 refuse `thinkingConfig`."""
    known = generation(model)
    return known == _UNKNOWN or known >= _FIRST_THINKING


def thinking_config(document: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """`thinkingConfig` for `reasoning_effort` or `thinking`; None where neither is given. `thinking` goes first.

    The third generation takes a level, the second a budget of tokens; the thoughts are asked for where thinking is.
    Raises invalid_field for an unknown effort or type.
    """
    thinking = document.get("thinking")
    if thinking is not None:
        return _from_thinking(thinking, model)
    effort = document.get("reasoning_effort")
    if effort is None:
        return None
    if effort == "none":
        return _off(model)
    if not isinstance(effort, str) or effort not in _BUDGETS:
        raise invalid("reasoning_effort", "must be none, minimal, low, medium, high or xhigh")
    if generation(model) >= THIRD:
        return {"thinkingLevel": _level(_LEVELS[effort], model), "includeThoughts": True}
    return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": True}


def _from_thinking(thinking: object, model: str) -> dict[str, Any]:
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "disabled":
        return _off(model)
    if not isinstance(thinking, dict) or kind not in ("enabled", "adaptive"):
        raise invalid("thinking.type", "must be enabled, adaptive or disabled")
    budget = thinking.get("budget_tokens")
    if budget is None:
        return {"includeThoughts": True}
    if type(budget) is not int or budget < 1:
        raise invalid("thinking.budget_tokens", "must be a positive integer")
    if generation(model) >= THIRD:
        level = "low" if budget <= _BUDGETS["low"] else "medium" if budget <= _BUDGETS["medium"] else "high"
        return {"thinkingLevel": _level(level, model), "includeThoughts": True}
    least, most = _PRO_BUDGET if "pro" in model else _LITE_BUDGET if "lite" in model else _FLASH_BUDGET
    return {"thinkingBudget": min(max(budget, least), most), "includeThoughts": True}


def _off(model: str) -> dict[str, Any]:
    """As little thinking as the model allows: the Pro models and the third generation cannot do without."""
    if generation(model) >= THIRD:
        return {"thinkingLevel": _level("minimal", model)}
    return {"thinkingBudget": _PRO_BUDGET[0] if "pro" in model else 0}


def _level(level: str, model: str) -> str:
    """The nearest level that the model has: https://ai.google.dev/gemini-api/docs/thinking (read 2026-11)."""
    if "pro" not in model:
        return level
    if level == "minimal":
        return "low"
    return "high" if level == "medium" and generation(model) == THIRD else level


def quoted(name: str) -> str:
    """`name` as one segment of a path, whatever a client has put into it."""
    return quote(name, safe="@", errors="replace")


def model_path(model: str) -> str:
    """The path of a model of the Gemini API: `/models/…`, or `/tunedModels/…` where the name says so."""
    for prefix in ("models/", "tunedModels/"):
        if model.startswith(prefix):
            return f"/{prefix}{quoted(model[len(prefix) :])}"
    return "/models/" + quoted(model.removeprefix("google/"))
