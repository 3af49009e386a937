"""Bodies that can be read in two ways: of two equal keys a provider's parser may take the first where ours takes the
last (RFC 8259, section 4, leaves it open)."""

from __future__ import annotations

import re
from typing import Final

import orjson

from gateway.wire.dialect import Document

# Keys that change neither what is paid nor anything that is judged here, whichever of two is read. Every other key
# counts, known or not: a provider may have a dear option of its own.
_HARMLESS: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "metadata",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "safety_identifier",
        "seed",
        "stop",
        "stop_sequences",
        "temperature",
        "thinking",  # what is thought counts as output, under the same cap
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_USUAL: Final = {
    key: b'"%b"' % key.encode()
    for key in (
        "input",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "prompt",
        "response_format",
        "stream",
        "stream_options",
        "system",
        "tools",
    )
}
_INCLUDE_USAGE: Final = b'"include_usage"'
# A key may be written with escapes: those of letters and the underscore, U+0040 to U+007F.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")
# Writing a large body costs less than looking for a single key in it.
_LARGE_BYTES: Final = 4096


def escapes_letters(body: bytes) -> bool:
    """May `body` hold a name that is written with escapes, so that it cannot be found as it stands?"""
    return b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None


def is_ambiguous(body: bytes, document: Document) -> bool:
    """May `body`, which was read as `document`, name a key twice that matters, plainly or through escapes?

    True for some bodies that do not; one that is to be passed on is then written anew from the document.
    """
    if len(body) > _LARGE_BYTES and orjson.dumps(document) == body:
        return False
    if escapes_letters(body):
        return True
    for key in document:  # only what it holds can stand in the body twice
        if key not in _HARMLESS and body.count(_USUAL.get(key) or orjson.dumps(key)) > 1:
            return True
    return "stream_options" in document and body.count(_INCLUDE_USAGE) > 1
