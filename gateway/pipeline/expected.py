"""How many tokens a request is taken to use, before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.services.bounds.content import PLAIN, read_content
from gateway.services.bounds.output import answer_count
from gateway.wire.token_estimate import BYTES_PER_TOKEN, PER_IMAGE

if TYPE_CHECKING:
    from gateway.pipeline.call import Call

_CAPS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_UNKNOWN_OUTPUT: Final = 1024
_HIGH: Final = 0.95
_MOST_MODELS: Final = 10_000


class UsualOutput:
    """A running estimate, for each model, of the length that few of its answers exceed.

    A stochastic approximation of the quantile (Robbins and Monro, 1951): each answer moves the estimate up where it was
    longer and down where it was not, by steps in the ratio of the quantile, as large as a fiftieth of the estimate.
    """

    def __init__(self) -> None:
        self._high: dict[str, float] = {}

    def high(self, model: str) -> int:
        """Tokens; a guess for a model that has not answered yet."""
        return int(self._high.get(model, _UNKNOWN_OUTPUT)) + 1

    def note(self, model: str, tokens: int) -> None:
        """An answer of this length was seen."""
        known = self._high.get(model)
        if known is None:
            if len(self._high) >= _MOST_MODELS:
                self._high.clear()
            self._high[model] = float(max(tokens, _UNKNOWN_OUTPUT))
            return
        step = known / 50 + 1
        self._high[model] = max(1.0, known + step * (_HIGH if tokens > known else _HIGH - 1))


def expected_tokens(call: Call, usual: UsualOutput, fallback: str = "") -> int:
    """The prompt by its size, and each answer by its cap, or else by what few of the model's answers go beyond: of the
    one that was asked for, or of `fallback`."""
    document = call.document
    content = PLAIN if call.flat else read_content(document, images=True, image_urls=True)
    size = max(0, len(call.body) - content.image_bytes)
    prompt = size // BYTES_PER_TOKEN + content.images * PER_IMAGE + 1
    answers, _ = answer_count(document, call.endpoint.name)
    if not answers:
        return prompt
    cap = 0
    for name in _CAPS:
        value = document.get(name)
        if type(value) is int and value > cap:
            cap = value
    return prompt + answers * (cap or usual.high(fallback or call.model))
