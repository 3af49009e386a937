"""Bodies that can be read in two ways: of two equal keys a provider's parser may take the first where ours takes the
last (RFC 8259, section 4, leaves it open)."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from gateway.errors import GatewayError
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
# A string, and whether it is a key. Outside of strings there are no quotes, so that a walk from the start meets each.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEYS: Final = re.compile(_STRING + rb"\s*+(:?)", re.DOTALL)
# What ends like a key, but for quotes that are surely escaped: as many as there are keys, or more, at half the cost.
_LIKE_KEYS: Final = re.compile(rb'"(?=\s*+:)(?:(?<!\\")|(?<=\\\\"))')
_NUMBERS: Final = re.compile(_STRING + rb"|(-?\d[\d.eE+-]*+)", re.DOTALL)


def escapes_letters(body: bytes) -> bool:
    """May `body` hold a name that is written with escapes, so that it cannot be found as it stands?"""
    return body.find(b"\\u00") >= 0 and _ESCAPED_LETTER.search(body) is not None


def is_as_written(body: bytes, document: Document) -> bool:
    """Is `body`, which was read as `document`, what would be written of it? Then it names nothing twice."""
    try:
        return orjson.dumps(document) == body
    except orjson.JSONEncodeError:  # whoever writes it says what is wrong with it
        return False


def is_ambiguous(body: bytes, document: Document) -> bool:
    """May `body`, which was read as `document`, name a key twice that matters, plainly or through escapes?

    True for some bodies that do not; one that is to be passed on is then written anew from the document.
    """
    if is_as_written(body, document):  # as SDKs write it
        return False
    if escapes_letters(body):
        return True
    for key in document:  # only what it holds can stand in the body twice
        if key not in _HARMLESS and body.count(_USUAL.get(key) or orjson.dumps(key)) > 1:
            return True
    return "stream_options" in document and body.count(_INCLUDE_USAGE) > 1


def named_once(body: bytes, document: Document) -> bytes:
    """`body`, which was read as `document`, itself where no object in it names a key twice, at any depth; else written
    anew from the document.

    Raises invalid_json for one that would have to be written anew and holds an integer that only its bytes have.
    """
    if orjson.dumps(document) == body:
        return body
    members = _count_members(document)
    if len(_LIKE_KEYS.findall(body)) == members or _KEYS.findall(body).count(b":") == members:
        return body
    for number in _NUMBERS.findall(body):
        if _is_beyond_64_bits(number):
            raise GatewayError("invalid_json", "The body names a key twice, and has an integer of more than 64 bits.")
    return orjson.dumps(document)


def _count_members(document: Document) -> int:
    count = 0
    waiting: list[Any] = [document]
    for value in waiting:  # which grows meanwhile
        if type(value) is dict:
            count += len(value)
            waiting += value.values()
        elif type(value) is list:
            waiting += value
    return count


def _is_beyond_64_bits(number: bytes) -> bool:
    digits = number.lstrip(b"-")
    if len(digits) < 19 or not digits.isdigit():
        return False
    return len(digits) > 20 or not -(2**63) <= int(number) < 2**64
