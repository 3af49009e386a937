"""What bounds a provider's bill before it is sent: how many tokens a request can be counted as at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Tokens of the largest image, by a part of the model's name; the first that is found in it counts.
ImageTokens = tuple[tuple[str, int], ...]

# 28 by 28 pixels are a token, and no edge is longer than 2,576 pixels once an image has been scaled down: 92 by 92.
# Models have a lower limit on the tokens themselves, which has been raised before. The rest stands around the image.
# https://platform.claude.com/docs/en/build-with-claude/vision (read 2026-11)
CLAUDE_IMAGES: ImageTokens = (("claude", 8_500),)
# Tiles of 258 tokens, whose number has no stated limit: 24 are more than twice what Gemini 2.5 (256 and about 2,048
# from panning) and Gemini 3 (2,240) have at their finest, and what recorded calls have (10).
# https://ai.google.dev/gemini-api/docs/tokens and https://ai.google.dev/gemini-api/docs/media-resolution (read 2026-11)
GEMINI_IMAGES: ImageTokens = (("gemini", 6_192),)
# Tiles: within 2,048 by 768 pixels there are 8, each of 170 tokens and 85 on top (GPT-4o mini: 5,667 and 2,833).
# Patches: 1,536, in newer models up to 30,000 (a larger image is refused), times 2.46 at most.
# https://platform.openai.com/docs/guides/images-vision#calculating-costs (read 2026-11)
GPT_IMAGES: ImageTokens = (
    ("gpt-4o-mini", 48_169),
    ("gpt-4o", 1_445),
    ("gpt-4.1", 3_779),
    ("gpt-", 73_800),
)
GPT_IMAGES_MOST = 73_800

# Beginnings of models' names, each with a hyphen behind it, and the encodings that they may have.
Encodings = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

# https://github.com/openai/tiktoken/blob/main/tiktoken/model.py (read 2026-11). A generation that is not out yet is not
# there: its tokens are unknown.
_O200K_MODELS = ("chatgpt-4o-", "gpt-4.1-", "gpt-4.5-", "gpt-4o-", "gpt-5", "o1-", "o3-", "o4-mini-")
_CL100K_MODELS = ("gpt-3.5-turbo-", "gpt-35-turbo-", "gpt-4-", "text-embedding-3-", "text-embedding-ada-002-")
GPT_ENCODINGS: Encodings = ((_O200K_MODELS, ("o200k_base",)), (_CL100K_MODELS, ("cl100k_base",)))
# A deployment keeps its name when the model behind it becomes another one of OpenAI's.
AZURE_ENCODINGS: Encodings = (((*_O200K_MODELS, *_CL100K_MODELS), ("o200k_base", "cl100k_base")),)


@dataclass(frozen=True, slots=True)
class Billing:
    """What a provider may bill for.

    `prompt_tokens_per_byte` is the most tokens that a byte of a request's JSON can be: 1, since every vocabulary in
    use has a token for each byte. Out of account are the few characters that a vocabulary may write out in longer form
    first (Unicode's compatibility forms: U+FDFA is a phrase of 18 letters). `fixed_overhead_tokens` is what the
    provider puts before any prompt (its chat template, a system prompt of its own), `tools_overhead_tokens` what it
    adds where there are tools or a schema for the answer, `tools_tokens_per_byte` the tokens that a byte of those can
    be: more than 1 where they are written out anew, indented or twice. The defaults are our own measure: no recorded
    call comes near them where a provider has no figures here. `tokens_per_image` is the most for one image,
    `image_tokens` the same for some models; None: not known, so not bounded. `image_urls` says that what is named by an
    http URL in an image's place is taken for an image or refused. `unbounded_models` are parts of names of models that
    bill for more than their tokens.

    `bills_after_cancel`: does the provider go on, and bill the whole answer, when a stream is cut? `no`: it bills
    what it had made by then. An answer that is not streamed is made to its end everywhere.
    https://openrouter.ai/docs/api-reference/streaming#stream-cancellation lists who does what (read 2026-11).

    `unseen_thought_models` are parts of names of models that think and do not show all of it, an empty one means all:
    of a cut stream more may be billed than came.

    `completion_cap_models` are beginnings of names of models that know the output cap as `max_completion_tokens` and
    refuse `max_tokens`; an empty one means all.

    `encodings` are tiktoken's names for the vocabularies that models may have, where the text of a prompt is billed by
    no more tokens than it is in one of them. That is so at the provider's own hosts alone (`encoding_hosts`, and names
    within them): elsewhere any model may answer to the name.
    """

    prompt_tokens_per_byte: int = 1
    fixed_overhead_tokens: int = 64
    tools_overhead_tokens: int = 768
    tools_tokens_per_byte: int = 2
    tokens_per_image: int | None = None
    image_tokens: ImageTokens = ()
    image_urls: bool = False
    unbounded_models: tuple[str, ...] = ()
    bills_after_cancel: Literal["yes", "no", "unknown"] = "unknown"
    unseen_thought_models: tuple[str, ...] = ()
    completion_cap_models: tuple[str, ...] = ()
    encodings: Encodings = ()
    encoding_hosts: tuple[str, ...] = ()

    def shows_all(self, model: str) -> bool:
        """Is no more billed of a stream that is cut than what `model` has sent?"""
        return self.bills_after_cancel == "no" and not any(part in model for part in self.unseen_thought_models)

    def image_bound(self, model: str) -> int | None:
        """The most tokens that one image can be to `model`; None where nobody says."""
        for part, tokens in self.image_tokens:
            if part in model:
                return tokens
        return self.tokens_per_image

    def cap_field(self, model: str) -> str:
        """What `model` calls the output cap of a chat."""
        if model.rpartition("/")[2].startswith(self.completion_cap_models):
            return "max_completion_tokens"
        return "max_tokens"

    def encodings_of(self, model: str, host: str) -> tuple[str, ...]:
        """The vocabularies of which `model` at `host` has one; none where that is not known."""
        if not any(f".{host}".endswith(f".{known}") for known in self.encoding_hosts):
            return ()
        name = f"{model.removeprefix('ft:')}-"
        return next((encodings for starts, encodings in self.encodings if name.startswith(starts)), ())


UNKNOWN_BILLS = Billing()
