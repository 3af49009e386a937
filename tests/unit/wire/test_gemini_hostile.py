"""Whatever clients and upstreams send, Google's dialects raise nothing but a GatewayError, and decoders nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Dialect
from gateway.wire.dialects import find_dialect

DIALECTS = [find_dialect(name) for name in ("gemini", "vertex", "palm")]
MODELS = ("gemini-3-pro-preview", "gemini-2.5-flash", "chat-bison-001", "text-embedding-005", "a/b/c", "\ud800")


def words(text: str) -> st.SearchStrategy[str]:
    """One of the words in `text`."""
    return st.sampled_from(text.split(" "))


KEYS = words(
    "role content type text image_url url file file_data file_url input_audio data format tool_calls id function name "
    "arguments tool_call_id reasoning_details signature images is_error cache_control refusal function_call custom "
    "parameters strict json_schema schema mode tools allowed_tools budget_tokens effort voice filename file_id "
    "$ref $defs allOf const items properties definitions"
)
WORDS = words(
    "user assistant system developer tool function text image_url file input_audio json_schema json_object required "
    "auto none enabled disabled allowed_tools reasoning.encrypted google-gemini-v1 data:image/png;base64,QQ== wav "
    'high gs://b/x.png STOP audio image {} {"a":1} \ud800'
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
FIELDS = words(
    "messages tools tool_choice functions function_call response_format stop seed n temperature top_k max_tokens "
    "logprobs top_logprobs reasoning_effort thinking modalities audio web_search_options safetySettings input "
    "dimensions input_type truncate encoding_format labels user unknown"
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": WORDS},
        optional={
            name: VALUES
            for name in (
                "content",
                "tool_calls",
                "tool_call_id",
                "reasoning_details",
                "images",
                "function_call",
                "name",
            )
        },
    ),
    min_size=1,
    max_size=3,
)
DOCUMENTS = st.builds(
    lambda fields, messages: {**fields, "messages": messages} if messages else fields,
    st.dictionaries(FIELDS, VALUES, max_size=5),
    st.none() | MESSAGES,
)

ANSWER_KEYS = words(
    "candidates content parts text thought thoughtSignature functionCall name args id inlineData mimeType data "
    "finishReason finishMessage index groundingMetadata groundingChunks web uri title groundingSupports segment "
    "startIndex endIndex groundingChunkIndices retrievedContext citationMetadata citationSources logprobsResult "
    "chosenCandidates topCandidates token logProbability usageMetadata promptTokenCount candidatesTokensDetails "
    "modality tokenCount promptFeedback blockReason error code status message details violations quotaId retryDelay "
    "responseId embeddings embedding values value predictions statistics token_count output filters reason models "
    "publisherModels executableCode codeExecutionResult language"
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=4)
ANSWERS = st.recursive(
    PLAIN | st.sampled_from(["STOP", "SAFETY", "AUDIO", "audio/wav", "RESOURCE_EXHAUSTED", "5s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANSWER_KEYS, inner, max_size=5),
    max_leaves=25,
)


def likely(value: Any) -> Any:
    """`value` where a candidate has its parts, so that it is read at all."""
    part = value if isinstance(value, dict) else {"text": value}
    return {**part, "candidates": [{"content": {"parts": [part, part]}, **part}], "usageMetadata": value}


def make_ask(operation: str, document: dict[str, Any], model: str, *, stream: bool = False) -> Ask:
    return Ask(operation, document, model, "alias", "chatcmpl-1", 0, stream=stream, options={"project": "p"})


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(document=DOCUMENTS, model=st.sampled_from(MODELS), chat=st.booleans(), stream=st.booleans())
def test_no_request_raises_anything_else(
    dialect: Dialect, document: dict[str, Any], model: str, chat: bool, stream: bool
) -> None:
    try:
        encoded = dialect.encode(make_ask("chat" if chat else "embeddings", document, model, stream=stream))
    except GatewayError:
        pass
    else:
        assert encoded.path.isascii()
        assert isinstance(orjson.loads(encoded.body), dict)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(
    value=ANSWERS, wrap=st.booleans(), chat=st.booleans(), packed=st.booleans(), status=st.sampled_from([400, 429, 500])
)
def test_no_answer_or_error_raises_anything_else(
    dialect: Dialect, value: Any, wrap: bool, chat: bool, packed: bool, status: int
) -> None:
    body = orjson.dumps(likely(value) if wrap else value)
    document = {"messages": [], "encoding_format": "base64" if packed else "float", "audio": {"format": "wav"}}
    try:
        answer, _ = dialect.decode(make_ask("chat" if chat else "embeddings", document, "gemini-embedding-2"), body)
    except GatewayError:
        pass
    else:
        orjson.dumps(answer)
    try:
        dialect.read_models(body)
    except GatewayError:
        pass
    assert isinstance(dialect.read_error("g", status, body), GatewayError)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(values=st.lists(ANSWERS, max_size=4), wrap=st.booleans(), array=st.booleans(), cut=st.integers(0, 400))
def test_no_stream_raises(dialect: Dialect, values: list[Any], wrap: bool, array: bool, cut: int) -> None:
    events = [likely(value) if wrap else value for value in values]
    data = orjson.dumps(events) if array else b"".join(b"data: " + orjson.dumps(item) + b"\n\n" for item in events)
    ask = make_ask("chat", {"messages": []}, "gemini-2.5-flash", stream=True)
    decoder = dialect.decoder(ask)
    chunks = decoder.feed(data[:cut]) + decoder.feed(data[cut:]) + decoder.finish()
    orjson.dumps(chunks)
    assert not (decoder.done and decoder.error)
    assert decoder.feed(data) == [] or not (decoder.done or decoder.error)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(data=st.binary(max_size=200))
def test_no_bytes_raise(dialect: Dialect, data: bytes) -> None:
    decoder = dialect.decoder(make_ask("chat", {"messages": []}, "gemini-2.5-flash", stream=True))
    decoder.feed(data)
    decoder.finish()
    with pytest.raises(GatewayError):
        dialect.decode(make_ask("chat", {"messages": []}, "gemini-2.5-flash"), data)
    dialect.read_error("g", 500, data)


@pytest.mark.parametrize("dialect", DIALECTS[:2], ids=lambda dialect: dialect.name)
def test_a_schema_that_nests_without_end_is_refused(dialect: Dialect) -> None:
    schema: dict[str, Any] = {"type": "object", "const": 1}
    for _ in range(600):
        schema = {"items": schema}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    document = {"messages": [{"role": "user", "content": "x"}], "tools": tools}
    with pytest.raises(GatewayError):
        dialect.encode(make_ask("chat", document, "gemini-2.5-flash"))
