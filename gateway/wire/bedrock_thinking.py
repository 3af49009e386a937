"""How much a model is to think: `thinking` and `reasoning_effort` in the words of each family.

Claude: https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html and
claude-messages-adaptive-thinking.html; Nova 2: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
(read 2026-11). gpt-oss and Qwen as recorded by those who use them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.wire.bedrock_models import Family
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

FIELDS = frozenset({"thinking", "reasoning_effort"})
# OpenAI's words and Anthropic's; a budget in tokens for models that want one.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
_LEAST_BUDGET = 1024
_DEFAULT_EFFORT = "medium"
_ADAPTIVE = (4, 6)
_ONLY_ADAPTIVE = (4, 7)


@dataclass(frozen=True, slots=True)
class Thinking:
    """`extra` goes into additionalModelRequestFields, `effort` into outputConfig."""

    extra: Document = field(default_factory=dict)
    effort: str | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """`effort` None: as the model likes; `budget` in tokens where the client gave one."""

    off: bool = False
    effort: str | None = None
    budget: int | None = None

    @property
    def level(self) -> str:
        """Low, medium or high."""
        effort = self.effort
        if effort is None and self.budget is not None:
            effort = next((name for name in ("low", "medium") if self.budget <= _BUDGETS[name]), "high")
        effort = effort or _DEFAULT_EFFORT
        return {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)


def encode_thinking(document: Document, family: Family, inference: Document, *, forced: bool) -> Thinking | None:
    """What to send; None where the wish cannot be met: the model does not think, must call a tool (Claude then may
    not think) or has no room for it in its limit of tokens. Raises invalid_field.
    """
    wish = _read(document)
    if wish is None:
        return Thinking()
    if not family.thinks:
        return None
    if family.vendor == "anthropic":
        return _claude(wish, family.claude, inference, forced=forced)
    if wish.off:
        return Thinking() if family.nova else None
    if family.nova:
        # At high effort Nova refuses limits and sampling parameters.
        level = "medium" if wish.level == "high" and inference else wish.level
        return Thinking({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}})
    if family.vendor == "qwen":
        return Thinking({"reasoning_config": "low" if wish.level == "low" else "high"})
    return Thinking({"reasoning_effort": wish.level})


def _read(document: Document) -> _Wish | None:
    effort, thinking = document.get("reasoning_effort"), document.get("thinking")
    if effort is not None and effort != "none" and (not isinstance(effort, str) or effort not in _BUDGETS):
        raise invalid("reasoning_effort", "must be none, minimal, low, medium, high, xhigh or max")
    if thinking is None:
        return None if effort is None else _Wish(off=effort == "none", effort=effort)
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "disabled":
        return _Wish(off=True)
    if kind not in ("enabled", "adaptive"):
        raise invalid("thinking.type", "must be enabled, adaptive or disabled")
    budget = thinking.get("budget_tokens")
    if budget is not None and (type(budget) is not int or not 0 < budget < 1 << 31):
        raise invalid("thinking.budget_tokens", "must be a positive whole number")
    return _Wish(effort=None if effort == "none" else effort, budget=budget)


def _claude(wish: _Wish, version: tuple[int, int], inference: Document, *, forced: bool) -> Thinking | None:
    if wish.off:
        return Thinking({"thinking": {"type": "disabled"}})
    if forced:
        return None
    if version >= _ADAPTIVE and (version >= _ONLY_ADAPTIVE or wish.budget is None):
        thinking = {"type": "adaptive"}
        if version >= _ONLY_ADAPTIVE:
            thinking["display"] = "summarized"  # these show nothing of what they think by default
        known = wish.effort is not None or wish.budget is not None
        effort = wish.effort if wish.effort in ("xhigh", "max") else wish.level
        return Thinking({"thinking": thinking}, effort if known else None)
    budget, limit = wish.budget, inference.get("maxTokens")
    if budget is None:
        budget = _BUDGETS[wish.effort or _DEFAULT_EFFORT]
        if limit is not None:  # of which thinking is a part
            budget = min(budget, max(_LEAST_BUDGET, limit // 2))
            if budget >= limit:
                return None
    return Thinking({"thinking": {"type": "enabled", "budget_tokens": budget}})
