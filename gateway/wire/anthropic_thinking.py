"""Whether and how much a Claude model is to think, and which sampling parameters that leaves it.

Models have one of two ways: a budget of tokens, or `adaptive` with a level of effort. A client's `reasoning_effort`
or `thinking` becomes whichever the model has (https://platform.claude.com/docs/en/build-with-claude/thinking and
.../extended-thinking, read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.wire.anthropic_models import Traits
from gateway.wire.dialect import Ask, Document
from gateway.wire.lacking import settle_lacking

# Tokens to think with, by OpenAI's levels (and Anthropic's `max`); 1,024 is the least that the API takes.
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
LEAST_BUDGET = 1024
# What is left for the answer beside a budget, where the client has set no limit.
_ANSWER_TOKENS = 4096
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_MODES = frozenset({"enabled", "adaptive", "disabled", "between_tools"})


@dataclass(slots=True)
class Thinking:
    """`config` is the request's `thinking`, `effort` its output_config.effort; None sends none.

    `thinks` says that thinking blocks come back and may be sent, `max_tokens` is the request's limit.
    """

    config: Document | None = None
    effort: str | None = None
    thinks: bool = False
    max_tokens: int = 0
    dropped: list[str] = field(default_factory=list)


def wants_thinking(document: Document) -> bool:
    """Does the client ask for thinking? Raises invalid_field for what is no level and no way of thinking."""
    mode, _ = _mode(document)
    return mode in ("enabled", "adaptive")


def settle_thinking(ask: Ask, traits: Traits, cap: int | None, *, forces_tool: bool) -> Thinking:
    """What to send. `cap` is the client's limit of tokens, None where it gave none.

    A budget stays under `cap`, which is also what the answer was reckoned to cost at most: it is made smaller, or,
    where that leaves less than the API takes, the model does not think and the wish counts as one that the provider
    lacks. So it does beside a forced tool, which cannot go with a budget. Raises unsupported_parameter, invalid_field.
    """
    mode, name = _mode(ask.document)
    limit = cap if cap is not None else traits.default_tokens
    if mode in ("disabled", "between_tools"):
        return _off(ask, traits, name, limit)
    if not mode:
        return Thinking(thinks=traits.unasked, max_tokens=limit)
    given = _budget(ask.document)
    if traits.adaptive and (given is None or not traits.budget or forces_tool):
        return _adaptive(ask.document, traits, given, cap)
    if not traits.budget or forces_tool:
        return Thinking(max_tokens=limit, dropped=_lacking(ask, name))
    return _with_budget(ask, traits, given, cap, name)


def without_budget(ask: Ask, traits: Traits, cap: int | None) -> Thinking:
    """The same request with no thinking, where a budget turns out to be impossible. Raises unsupported_parameter."""
    _, name = _mode(ask.document)
    return Thinking(max_tokens=cap if cap is not None else traits.default_tokens, dropped=_lacking(ask, name))


def _mode(document: Document) -> tuple[str, str]:
    """The way of thinking that is asked for, empty for none, and the field that says so."""
    thinking = document.get("thinking")
    effort = document.get("reasoning_effort")
    if effort is not None and (not isinstance(effort, str) or (effort != "none" and effort not in BUDGETS)):
        levels = ", ".join(["none", *BUDGETS])
        raise GatewayError(
            "invalid_field", f"The field 'reasoning_effort' must be one of {levels}.", param="reasoning_effort"
        )
    if thinking is not None:
        mode = thinking.get("type") if isinstance(thinking, dict) else None
        if not isinstance(mode, str) or mode not in _MODES:
            modes = ", ".join(sorted(_MODES))
            raise GatewayError(
                "invalid_field", f"The field 'thinking.type' must be one of {modes}.", param="thinking.type"
            )
        return mode, "thinking"
    if effort is None:
        return "", ""
    return ("disabled" if effort == "none" else "adaptive"), "reasoning_effort"


def _budget(document: Document) -> int | None:
    thinking = document.get("thinking")
    if not isinstance(thinking, dict) or thinking["type"] != "enabled":
        return None
    budget = thinking.get("budget_tokens")
    if budget is None:
        return None
    if type(budget) is not int or not 0 <= budget < 2**31:
        raise GatewayError(
            "invalid_field",
            "The field 'thinking.budget_tokens' must be a whole number of tokens.",
            param="thinking.budget_tokens",
        )
    return max(budget, LEAST_BUDGET)


def _lacking(ask: Ask, name: str) -> list[str]:
    return settle_lacking({name: ask.document[name]}, frozenset(), ask.policy, f"the model '{ask.shown_model}'")


def _off(ask: Ask, traits: Traits, name: str, limit: int) -> Thinking:
    if not traits.unasked:
        return Thinking(max_tokens=limit)
    if traits.off == "never":
        # The least that such a model can be asked for; the client is told that its wish was not met.
        return Thinking(effort="low", thinks=True, max_tokens=limit, dropped=_lacking(ask, name))
    return Thinking(config={"type": traits.off}, thinks=traits.off == "between_tools", max_tokens=limit)


def _adaptive(document: Document, traits: Traits, given: int | None, cap: int | None) -> Thinking:
    level = document.get("reasoning_effort")
    effort = _EFFORTS.get(level) if isinstance(level, str) else None
    if effort is None and given is not None:
        effort = "low" if given <= BUDGETS["low"] else "medium" if given <= BUDGETS["medium"] else "high"
    if effort == "xhigh" and "xhigh" not in traits.efforts:
        effort = "max"
    thinking = document.get("thinking")
    display = thinking.get("display") if isinstance(thinking, dict) else None
    config: Document = {"type": "adaptive"}
    if isinstance(display, str):
        config["display"] = display
    elif not traits.sampling:
        # From 4.7 on what was thought is left out of the answer, unless it is asked for.
        config["display"] = "summarized"
    limit = cap if cap is not None else max(traits.default_tokens, BUDGETS["high"])
    return Thinking(config=config, effort=effort, thinks=True, max_tokens=limit)


def _with_budget(ask: Ask, traits: Traits, given: int | None, cap: int | None, name: str) -> Thinking:
    level = ask.document.get("reasoning_effort")
    budget = given if given is not None else BUDGETS[level if isinstance(level, str) and level in BUDGETS else "medium"]
    if cap is None:
        if given is None:
            budget = min(budget, traits.max_tokens - _ANSWER_TOKENS)
        limit = budget + _ANSWER_TOKENS
    else:
        limit = cap
        if given is None or given >= cap:
            budget = min(budget, cap - cap // 4)
        if budget < LEAST_BUDGET:
            return Thinking(max_tokens=limit, dropped=_lacking(ask, name))
    config: Document = {"type": "enabled", "budget_tokens": budget}
    thinking = ask.document.get("thinking")
    if isinstance(thinking, dict) and isinstance(thinking.get("display"), str):
        config["display"] = thinking["display"]
    return Thinking(config=config, thinks=True, max_tokens=limit)


def settle_sampling(ask: Ask, traits: Traits, thinking: Thinking, body: Document) -> list[str]:
    """Puts temperature, top_p and top_k into `body`, and returns which of them were dropped.

    Anthropic's temperature ends at 1, where OpenAI's ends at 2; with thinking it stays at its default, top_k is
    not taken, and top_p from 0.95 on. Some models take one of temperature and top_p. Values that ask for nothing
    are not sent. Raises unsupported_parameter.
    """
    document = ask.document
    temperature, top_p, top_k = (document.get(name) for name in ("temperature", "top_p", "top_k"))
    if temperature is None and top_p is None and top_k is None:
        return []
    on = thinking.config is not None and thinking.config["type"] in ("enabled", "adaptive")
    lacking: list[str] = []
    if top_k is not None:
        _put(body, "top_k", top_k, lacking, taken=traits.sampling and not on)
    if temperature is not None and not (temperature == 1 and (top_p is not None or on or not traits.sampling)):
        over = isinstance(temperature, (int, float)) and temperature > 1
        _put(body, "temperature", temperature, lacking, taken=traits.sampling and not on and not over)
    if top_p is not None and top_p != 1:
        alone = traits.both_samplers or "temperature" not in body
        high = isinstance(top_p, (int, float)) and top_p >= 0.95
        _put(body, "top_p", top_p, lacking, taken=traits.sampling and alone and (not on or high))
    return [name for found in lacking for name in _lacking(ask, found)]


def _put(body: Document, name: str, value: object, lacking: list[str], *, taken: bool) -> None:
    if taken:
        body[name] = value
    else:
        lacking.append(name)
