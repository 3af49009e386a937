"""OpenAI's own format as a dialect: for upstreams that speak it when the client spoke something else.

Where client and upstream both speak it `openai.py` passes the bytes through; here a canonical request is written for
such an upstream, and what it answers is read into the canonical form.
https://platform.openai.com/docs/api-reference/chat (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway.errors import GatewayError
from gateway.wire.call_ids import no_longer_than
from gateway.wire.dialect import Ask, Document, Encoded, StreamDecoder
from gateway.wire.lacking import settle_lacking
from gateway.wire.openai import Variations, read_usage
from gateway.wire.openai_dialect_answer import bad_answer, read_completion, read_object
from gateway.wire.openai_dialect_embeddings import repacked, with_usage
from gateway.wire.openai_dialect_request import (
    MAX_ID_CHARACTERS,
    MESSAGE_EXTENSIONS,
    MessageWriter,
    messages_of,
    plain_tools,
    tools_for_functions,
    write_json,
)
from gateway.wire.openai_dialect_stream import OpenAIStream
from gateway.wire.openai_error import error_within, parse_object, read_error
from gateway.wire.usage import Usage

# The parameters of the canonical form that OpenAI's chat does not have.
PARAMETER_EXTENSIONS = frozenset({"thinking", "top_k"})
# Models of OpenAI's that think take `reasoning_effort` and refuse `max_tokens`; its others the reverse.
# https://platform.openai.com/docs/guides/reasoning (read 2026-11)
_THINKING_MODELS = ("o1", "o3", "o4", "gpt-5")
# Where a thinking budget, in tokens, ends being low and being medium; our own measure.
_LOW_BUDGET_TOKENS = 2048
_MEDIUM_BUDGET_TOKENS = 8192


class OpenAIDialect:
    """OpenAI's format. What one upstream has otherwise is given to the constructor.

    `variations` are the parameters that it lacks or renames; `keeps` the extensions of the canonical form that it
    understands (names of PARAMETER_EXTENSIONS and MESSAGE_EXTENSIONS); `developer_role` says whether it knows that
    role, `marked` whether its streams always end with `[DONE]`. `paths` replace `/chat/completions` and
    `/embeddings` by operation, `max_id_characters` is how long the id of a call may be (None: any length) where the
    variations say nothing of it. `who` names it in errors.
    """

    operations = frozenset({"chat", "embeddings"})
    choices = True

    def __init__(
        self,
        name: str = "openai",
        *,
        variations: Variations | None = None,
        keeps: frozenset[str] = frozenset(),
        developer_role: bool = True,
        marked: bool = True,
        image_urls: bool = True,
        file_urls: bool = False,
        paths: Mapping[str, str] | None = None,
        max_id_characters: int | None = MAX_ID_CHARACTERS,
        who: str = "this provider",
    ) -> None:
        self.name = name
        self.image_urls = image_urls
        self.file_urls = file_urls
        self.who = who
        self._variations = variations or Variations()
        self._keeps = keeps
        self._marked = marked
        self._lacking = self._variations.unsupported | (PARAMETER_EXTENSIONS - keeps)
        self._stripped = MESSAGE_EXTENSIONS - keeps
        self._writer = MessageWriter(
            self._stripped,
            developer_role=developer_role,
            who=who,
            plain_id=self._variations.plain_id or (no_longer_than(max_id_characters) if max_id_characters else None),
        )
        self._paths = {"chat": "/chat/completions", "embeddings": "/embeddings", **(paths or {})}

    # --- the request ----------------------------------------------------------------------------

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises unsupported_parameter or invalid_field naming the field."""
        if ask.operation == "chat":
            return self._chat(ask)
        if ask.operation == "embeddings":
            return self._embeddings(ask)
        raise GatewayError("invalid_request", f"The operation '{ask.operation}' is not supported by {self.who}.")

    def _chat(self, ask: Ask) -> Encoded:
        document = tools_for_functions(ask.document)
        outgoing, dropped = self._without_lacking(document, ask)
        outgoing["model"] = ask.model
        outgoing["messages"] = self._writer.write(messages_of(document))
        tools = outgoing.pop("tools", None)
        if tools:
            outgoing["tools"] = plain_tools(tools, self._stripped)
        outgoing.pop("stream", None)
        asked = outgoing.pop("stream_options", None)
        if ask.stream:
            outgoing["stream"] = True
            if self._variations.stream_usage:
                outgoing["stream_options"] = {**(asked if type(asked) is dict else {}), "include_usage": True}
        self._suit_thinking_models(document, outgoing, dropped)
        self._rename(outgoing)
        return Encoded(self._paths["chat"], write_json(outgoing, "messages"), dropped=dropped)

    def _embeddings(self, ask: Ask) -> Encoded:
        outgoing, dropped = self._without_lacking(ask.document, ask)
        outgoing["model"] = ask.model
        self._rename(outgoing)
        return Encoded(self._paths["embeddings"], write_json(outgoing, "input"), dropped=dropped)

    def _without_lacking(self, document: Document, ask: Ask) -> tuple[Document, list[str]]:
        """The fields to send, and the names of those left out; nulls and `n` go unsaid (dispatch asks n times)."""
        lacking = self._lacking
        kept = {name: value for name, value in document.items() if value is not None and name not in lacking}
        if lacking.isdisjoint(document):
            return kept, []
        taken = frozenset(document) - lacking | {"n"}
        policy = ask.policy if "top_k" not in document else {"top_k": "drop", **ask.policy}
        return kept, settle_lacking(document, taken, policy, self.who)

    def _suit_thinking_models(self, document: Document, outgoing: Document, dropped: list[str]) -> None:
        if not outgoing["model"].rpartition("/")[2].startswith(_THINKING_MODELS):
            return
        if "max_tokens" in outgoing:
            outgoing.setdefault("max_completion_tokens", outgoing.pop("max_tokens"))
        if "thinking" in dropped and "reasoning_effort" not in outgoing and "reasoning_effort" not in self._lacking:
            effort = effort_of(document["thinking"])
            if effort is not None:
                outgoing["reasoning_effort"] = effort
                dropped.remove("thinking")

    def _rename(self, outgoing: Document) -> None:
        for name, new_name in (self._variations.renamed or {}).items():
            if name in outgoing:
                outgoing[new_name] = outgoing.pop(name)

    # --- the answer -----------------------------------------------------------------------------

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used. Raises upstream_bad_answer, or what an error in the body means."""
        if ask.operation == "embeddings":
            return self._read_embeddings(ask, body)
        document = read_object(body)
        if document is None:
            raise bad_answer("answered with something that is not a JSON object")
        if document.get("error") and not document.get("choices"):
            raise self.error_within(document, "The provider answered 200 with an error")
        usage = read_usage(document.get("usage"))
        return read_completion(ask, document, usage), usage

    def _read_embeddings(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        document = parse_object(body)
        if document is None:
            raise bad_answer("answered with something that is not a JSON object")
        data = document.get("data")
        if type(data) is not list or not data:
            if document.get("error"):
                raise self.error_within(document, "The provider answered 200 with an error")
            raise bad_answer("answered without embeddings")
        packed = ask.document.get("encoding_format") == "base64"
        written = []
        for index, item in enumerate(data):
            vector = item.get("embedding") if type(item) is dict else None
            if type(vector) is not str and type(vector) is not list:
                raise bad_answer("answered with an embedding that is not a list of numbers")
            place = item.get("index")
            written.append(
                {
                    "object": "embedding",
                    "index": place if type(place) is int else index,
                    "embedding": repacked(vector) if packed else vector,
                }
            )
        usage = read_usage(document.get("usage"))
        return with_usage({"object": "list", "data": written, "model": ask.shown_model}, usage), usage

    def decoder(self, ask: Ask) -> StreamDecoder:
        """A decoder for one stream."""
        return OpenAIStream(ask, self.error_within, marked=self._marked)

    def error_within(self, document: Document, what: str) -> GatewayError:
        """What an error inside an answer that began with 200 means; `what` begins the message."""
        return error_within(document, what)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The ids in a list of models: OpenAI's `data`, or the bare array that some answer with.

        Raises upstream_bad_answer. https://platform.openai.com/docs/api-reference/models/list (read 2026-11)
        """
        return model_ids(body)


def model_ids(body: bytes) -> list[str]:
    """The ids in OpenAI's list of models, or in a bare array of them. Raises upstream_bad_answer."""
    try:
        listed = orjson.loads(body)
    except orjson.JSONDecodeError:
        listed = None
    models = listed.get("data") if type(listed) is dict else listed
    if type(models) is not list:
        raise bad_answer("answered with something that is not a list of models")
    return [model["id"] for model in models if type(model) is dict and type(model.get("id")) is str]


def effort_of(thinking: object) -> str | None:
    """The `reasoning_effort` that comes nearest to a thinking budget; None where nothing is to be thought."""
    if type(thinking) is not dict or thinking.get("type") != "enabled":
        return None
    budget = thinking.get("budget_tokens")
    if type(budget) is not int:
        return "medium"
    if budget <= _LOW_BUDGET_TOKENS:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET_TOKENS else "high"
