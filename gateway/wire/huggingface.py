"""Hugging Face: the router, dedicated endpoints, text-generation-inference and text-embeddings-inference.

Chat is OpenAI's format everywhere, at `/v1/chat/completions`; on the router a model's name may end with `:provider`
(or `:fastest`, `:cheapest`) and goes out as it is. Embeddings differ by where they are asked for; the account's
option `embeddings` says which it is:

- `feature-extraction`: the router's `/hf-inference/models/<model>/pipeline/feature-extraction`;
- `openai`: `/v1/embeddings` of text-embeddings-inference and of dedicated endpoints;
- `embed`: text-embeddings-inference's own `/embed`.

https://huggingface.co/docs/inference-providers/tasks/feature-extraction, …/tasks/chat-completion and
https://huggingface.co/docs/text-embeddings-inference/quick_tour (read 2026-11).
"""

from __future__ import annotations

from urllib.parse import quote

import orjson

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.huggingface_errors import huggingface_error, huggingface_error_within
from gateway.wire.lacking import CHAT_PARAMETERS, settle_lacking
from gateway.wire.openai import Variations
from gateway.wire.openai_dialect import OpenAIDialect
from gateway.wire.openai_dialect_answer import bad_answer
from gateway.wire.openai_dialect_embeddings import embedding_list, texts_of
from gateway.wire.openai_dialect_request import write_json
from gateway.wire.usage import Usage

EMBEDDING_WAYS = ("feature-extraction", "openai", "embed")
# https://huggingface.co/docs/inference-providers/tasks/chat-completion#request (read 2026-11)
_CHAT_TAKEN = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
    }
)
# https://huggingface.co/docs/inference-providers/tasks/feature-extraction#request (read 2026-11)
_VECTOR_TAKEN = frozenset(
    {
        "dimensions",
        "encoding_format",
        "input_type",
        "normalize",
        "prompt_name",
        "truncate",
        "truncation_direction",
    }
)
# Cohere's words, which the canonical form shares.
_TRUNCATE: dict[object, Document] = {
    True: {"truncate": True},
    False: {"truncate": False},
    "NONE": {"truncate": False},
    "END": {"truncate": True},
    "START": {"truncate": True, "truncation_direction": "Left"},
}
_WHO = "Hugging Face"


class HuggingFaceDialect(OpenAIDialect):
    """OpenAI's format with Hugging Face's paths, errors and embeddings."""

    choices = False  # the router's providers do not all take `n`

    def __init__(self) -> None:
        super().__init__(
            "huggingface",
            variations=Variations(
                unsupported=CHAT_PARAMETERS - _CHAT_TAKEN - {"functions", "function_call"},
                renamed={"max_completion_tokens": "max_tokens"},
            ),
            developer_role=False,  # the models' own chat templates do not know it
            marked=False,  # text-generation-inference before 2.1 ends without [DONE]
            paths={"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"},
            max_id_characters=None,  # models know their calls by ids like functions.look_up:0
            who=_WHO,
        )

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises unsupported_parameter or invalid_field naming the field."""
        if ask.operation != "embeddings" or _embedding_way(ask) == "openai":
            return super().encode(ask)
        return _ask_for_vectors(ask)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used, which no answer with bare vectors says.

        Raises upstream_bad_answer, or what an error in the body means.
        """
        if ask.operation != "embeddings" or _embedding_way(ask) == "openai":
            return super().decode(ask, body)
        return _read_vectors(ask, body), None

    def error_within(self, document: Document, what: str) -> GatewayError:
        """What an error inside an answer that began with 200 means; `what` begins the message."""
        return huggingface_error_within(document, what)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return huggingface_error(provider, status, body, retry_after_s)


def _embedding_way(ask: Ask) -> str:
    way = ask.options.get("embeddings") or EMBEDDING_WAYS[0]
    return way if way in EMBEDDING_WAYS else EMBEDDING_WAYS[0]


def _ask_for_vectors(ask: Ask) -> Encoded:
    document = ask.document
    dropped = settle_lacking(document, _VECTOR_TAKEN, ask.policy, _WHO)
    body: Document = {"inputs": texts_of(document, _WHO)}
    for name in ("dimensions", "normalize", "prompt_name", "truncation_direction"):
        if document.get(name) is not None:
            body[name] = document[name]
    # What Cohere calls an input type is the name of a prompt in sentence-transformers' models.
    if document.get("input_type") is not None:
        body.setdefault("prompt_name", document["input_type"])
    truncate = document.get("truncate")
    if truncate is not None:
        if type(truncate) not in (bool, str) or truncate not in _TRUNCATE:
            raise invalid("truncate", "must be true, false, NONE, START or END")
        body.update(_TRUNCATE[truncate])
    path = "/embed" if _embedding_way(ask) == "embed" else _model_path(ask.model)
    return Encoded(path, write_json(body, "input"), dropped=dropped)


def _model_path(model: str) -> str:
    """Where the router embeds with `model`. A client may have given the name: it must not lead elsewhere."""
    name = model.removesuffix(":hf-inference")
    try:
        quoted = quote(name, safe="/")
    except UnicodeEncodeError:
        raise invalid("model", "is not Unicode") from None
    if {"", ".", ".."}.intersection(quoted.split("/")):
        raise invalid("model", "is not the name of a model")
    return f"/hf-inference/models/{quoted}/pipeline/feature-extraction"


def _read_vectors(ask: Ask, body: bytes) -> Document:
    """The vectors of an answer: a list of them, or a single one where a single text was given."""
    try:
        vectors = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_answer("answered with something that is not JSON") from None
    if type(vectors) is dict:
        if vectors.get("error"):
            raise huggingface_error_within(vectors, "The provider answered 200 with an error")
        vectors = vectors.get("embeddings")
    if type(vectors) is not list or not vectors:
        raise bad_answer("answered without embeddings")
    first = vectors[0]
    if type(first) is not list:
        vectors = [vectors]
    elif first and type(first[0]) is list:
        raise bad_answer("answered with a vector for each token: this model does not pool them into an embedding")
    return embedding_list(ask, vectors, None)


DIALECT = HuggingFaceDialect()
