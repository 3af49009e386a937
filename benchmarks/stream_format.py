"""The bytes of a benchmark stream, known to its upstream and its client alike, so that every byte is checked. Pure.

A stream is `max_tokens` chunks, 20 a second, each with its number and the time it was sent (CLOCK_MONOTONIC,
nanoseconds: one clock for all processes of a machine), then a finish chunk, the usage chunk if it was
asked for, and `[DONE]`.
"""

from __future__ import annotations

import orjson

from benchmarks.traffic import MODEL, TRANSLATED_MODEL

PERIOD_S = 0.05

_HEAD = f'data: {{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"{MODEL}",'
_CHUNK_HEAD = f'{_HEAD}"system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{{"content":"'

PREFIX = _CHUNK_HEAD.encode()
SUFFIX = b'"},"logprobs":null,"finish_reason":null}]}\n\n'
MARK = b"%06d %020d"
MARK_SIZE = 27
CHUNK_SIZE = len(PREFIX) + MARK_SIZE + len(SUFFIX)
FINISH = f'{_HEAD}"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}]}}\n\n'.encode()
DONE = b"data: [DONE]\n\n"


def usage(chunks: int) -> bytes:
    """The usage chunk of a stream of `chunks` chunks."""
    counts = {"prompt_tokens": 78, "completion_tokens": chunks, "total_tokens": 78 + chunks}
    return f'{_HEAD}"choices":[],"usage":'.encode() + orjson.dumps(counts) + b"}\n\n"


def ending(chunks: int, *, with_usage: bool) -> bytes:
    """Everything that follows the last chunk."""
    return FINISH + (usage(chunks) if with_usage else b"") + DONE


def anthropic_beginning() -> bytes:
    """What an upstream of Anthropic's dialect sends before the first chunk."""
    message = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": TRANSLATED_MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 78, "output_tokens": 1},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return _event({"type": "message_start", "message": message}) + _event(block)


def anthropic_chunk(mark: bytes) -> bytes:
    """One chunk in Anthropic's dialect."""
    delta = {"type": "text_delta", "text": mark.decode()}
    return _event({"type": "content_block_delta", "index": 0, "delta": delta})


def anthropic_ending(chunks: int) -> bytes:
    """Everything that follows the last chunk, in Anthropic's dialect."""
    stopped = {"stop_reason": "end_turn", "stop_sequence": None}
    delta = {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": chunks}}
    return _event({"type": "content_block_stop", "index": 0}) + _event(delta) + _event({"type": "message_stop"})


def _event(data: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), orjson.dumps(data))


def request_body(chunks: int, *, with_usage: bool, model: str = MODEL) -> bytes:
    """The chat request for a stream of `chunks` chunks."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": "Count for me, twenty words a second, until I have had enough."}],
        "stream": True,
        "max_tokens": chunks,
    }
    if with_usage:
        body["stream_options"] = {"include_usage": True}
    return orjson.dumps(body)
