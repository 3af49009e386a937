"""AWS Bedrock's dialect: Converse and ConverseStream for chat, InvokeModel for embeddings.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (read 2026-11). Requests are signed
elsewhere (`upstream/credentials/sigv4.py`).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import orjson

from gateway.errors import GatewayError
from gateway.wire.bedrock_answer import decode_chat
from gateway.wire.bedrock_embed import decode_embeddings, encode_embeddings
from gateway.wire.bedrock_error import error_within, read_error
from gateway.wire.bedrock_messages import encode_messages
from gateway.wire.bedrock_models import Family, family_of
from gateway.wire.bedrock_stream import BedrockDecoder, load_parser
from gateway.wire.bedrock_thinking import FIELDS as THINKING_FIELDS
from gateway.wire.bedrock_thinking import encode_thinking
from gateway.wire.bedrock_tools import encode_tools, read_form
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded, StreamDecoder
from gateway.wire.lacking import settle_lacking
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

# Bedrock's own fields that go on under their names. `additionalModelRequestFields` is not among them: it could
# raise the limit of tokens over what was reserved for the request.
_NATIVE = ("guardrailConfig", "performanceConfig")
_TAKEN = frozenset(
    {
        *_NATIVE,
        "function_call",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "n",  # dispatch makes as many calls
        "response_format",
        "stop",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)
_TIERS = {"default": "default", "flex": "flex", "priority": "priority", "standard_only": "default"}
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html: requestMetadata.
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")
_MAX_METADATA = 16


class Bedrock:
    """See the module."""

    name = "bedrock"
    operations = frozenset({"chat", "embeddings"})
    choices = False
    image_urls = False
    file_urls = False

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError: invalid_field, invalid_json or unsupported_parameter naming the field,
        no_target_available for a stream that cannot be read because botocore is not installed.
        """
        family = family_of(ask.model)
        model = quote(ask.model, safe="", errors="replace")
        if ask.operation == "embeddings":
            body, dropped = encode_embeddings(ask, family)
            return Encoded(f"/model/{model}/invoke", _dump(body), dropped=dropped)
        if ask.stream:
            load_parser()
        body, dropped = _encode_chat(ask, family)
        return Encoded(
            f"/model/{model}/{'converse-stream' if ask.stream else 'converse'}", _dump(body), dropped=dropped
        )

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and its usage. Raises upstream_bad_answer, or what an error in it means."""
        return decode_embeddings(ask, body) if ask.operation == "embeddings" else decode_chat(ask, body)

    def decoder(self, ask: Ask) -> StreamDecoder:
        """A new decoder for one stream."""
        return BedrockDecoder(ask)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in ListFoundationModels' or ListInferenceProfiles' answer. Raises upstream_bad_answer.

        https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html (read 2026-11).
        """
        document = parse_object(body) or {}
        listed = document.get("modelSummaries", document.get("inferenceProfileSummaries"))
        if not isinstance(listed, list):
            raise error_within(document)
        found = [item.get("modelId") or item.get("inferenceProfileId") for item in listed if isinstance(item, dict)]
        return [name for name in found if isinstance(name, str)]


DIALECT = Bedrock()


def _encode_chat(ask: Ask, family: Family) -> tuple[Document, list[str]]:
    document = ask.document
    conversation = encode_messages(document.get("messages"), family)
    form = read_form(document, family)
    tools, forced = encode_tools(document, family, form, told=conversation.has_tools)
    inference = _inference(document)
    thinking = encode_thinking(document, family, inference, forced=forced)
    if thinking is not None and "budget_tokens" in thinking.extra.get("thinking", ()) and conversation.lacks_thinking():
        thinking = None
    extra, extra_taken = _own_fields(document, family, tools)
    taken = _TAKEN | extra_taken | (THINKING_FIELDS if thinking is not None else frozenset())
    body: Document = {"messages": conversation.turns}
    _add_hints(body, document)
    taken |= {name for name, sent in _HINTS_SENT.items() if sent in body or document.get(name) in ("auto", {})}
    if form is not None and form.words:
        conversation.system.append({"text": form.words})
    if conversation.system:
        body["system"] = conversation.system
    if inference:
        body["inferenceConfig"] = inference
    if tools is not None:
        body["toolConfig"] = tools
    output: Document = {}
    if form is not None and form.native is not None:
        output["textFormat"] = form.native
    if thinking is not None:
        extra |= thinking.extra
        if thinking.effort is not None:
            output["effort"] = thinking.effort
    if output:
        body["outputConfig"] = output
    if extra:
        body["additionalModelRequestFields"] = extra
    return body, settle_lacking(document, taken, ask.policy, "Bedrock")


def _inference(document: Document) -> Document:
    """inferenceConfig, empty where the client asked for nothing."""
    inference: Document = {}
    for name, sent, kinds in (
        ("max_tokens", "maxTokens", (int,)),
        ("max_completion_tokens", "maxTokens", (int,)),
        ("temperature", "temperature", (int, float)),
        ("top_p", "topP", (int, float)),
    ):
        value = document.get(name)
        if value is not None:
            if type(value) not in kinds:
                raise invalid(name, "must be a number" if float in kinds else "must be a whole number")
            inference[sent] = value
    stop = document.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
            raise invalid("stop", "must be a string or an array of strings")
        if any(stops):
            inference["stopSequences"] = [text for text in stops if text]
    return inference


def _own_fields(document: Document, family: Family, tools: Document | None) -> tuple[Document, frozenset[str]]:
    """What goes among the model's own fields, which Converse itself has no words for, and of which parameters."""
    fields: Document = {}
    taken: set[str] = set()
    top_k = document.get("top_k")
    if top_k is not None:
        if type(top_k) is not int:
            raise invalid("top_k", "must be a whole number")
        named = _top_k(top_k, family)
        if named is not None:
            fields |= named
            taken.add("top_k")
    parallel = document.get("parallel_tool_calls")
    if parallel is True:
        taken.add("parallel_tool_calls")  # as it is anyway
    elif parallel is False and family.one_call_at_a_time and tools is not None and "toolChoice" not in tools:
        # A second tool choice beside `toolChoice` is refused: https://github.com/BerriAI/litellm/issues/36536.
        fields["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        taken.add("parallel_tool_calls")
    return fields, frozenset(taken)


def _top_k(value: int, family: Family) -> Document | None:
    if family.nova:
        return {"inferenceConfig": {"topK": value}}
    if family.vendor in ("", "anthropic", "mistral"):
        return {"top_k": value}
    return {"k": value} if family.vendor == "cohere" else None


# Hints by the field that carries them: those that are not sent count as left out.
_HINTS_SENT = {"metadata": "requestMetadata", "service_tier": "serviceTier"}


def _add_hints(body: Document, document: Document) -> None:
    for name in _NATIVE:
        value = document.get(name)
        if value is not None:
            if not isinstance(value, dict):
                raise invalid(name, "must be an object")
            body[name] = value
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and 0 < len(metadata) <= _MAX_METADATA and all(map(_fits, metadata.items())):
        body["requestMetadata"] = metadata
    tier = document.get("service_tier")
    if isinstance(tier, str) and tier in _TIERS:
        body["serviceTier"] = {"type": _TIERS[tier]}


def _fits(item: tuple[Any, Any]) -> bool:
    key, value = item
    return bool(key) and all(isinstance(text, str) and _METADATA.fullmatch(text) for text in (key, value))


def _dump(body: Document) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise GatewayError(
            "invalid_json", "The request nests too deeply, or holds text or numbers that JSON cannot carry."
        ) from None
