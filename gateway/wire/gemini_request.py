"""A canonical chat request as the body of `generateContent`.

https://ai.google.dev/api/generate-content (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document
from gateway.wire.gemini_messages import Conversation
from gateway.wire.gemini_model import thinking_config, thinks
from gateway.wire.gemini_tools import read_tooling
from gateway.wire.lacking import settle_lacking

_NUMBERS = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# What Gemini's own API has beside the canonical fields: in the body, and in `generationConfig`.
_OWN = {
    "safetySettings": "safetySettings",
    "safety_settings": "safetySettings",
    "cachedContent": "cachedContent",
    "cached_content": "cachedContent",
}
_OWN_SETTINGS = ("imageConfig", "mediaResolution", "speechConfig")
_THINKING = frozenset({"reasoning_effort", "thinking"})
_TAKEN = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "response_format",
        "seed",
        "stop",
        "stream_options",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "web_search_options",
        *_NUMBERS,
        *_OWN,
        *_OWN_SETTINGS,
    }
)
_TAKEN_THINKING = _TAKEN | _THINKING
# `seed` is a 32-bit integer there, `top_logprobs` has the same bound as OpenAI's.
_SEEDS = 2**31
_AUDIO_FORMATS = ("pcm16", "wav")


@dataclass(frozen=True, slots=True)
class Surface:
    """What differs between Google's two addresses of this format.

    `who` is named in refusals. `call_ids`: calls and results have ids. `validated`: there is a mode that holds calls
    to their schema. `mixed`: Google's own tools beside functions have to be announced. `own` are further fields of
    the body that are passed on.
    """

    who: str
    call_ids: bool
    validated: bool
    mixed: bool
    own: frozenset[str] = frozenset()


def chat_body(ask: Ask, surface: Surface) -> tuple[bytes, list[str]]:
    """The body, and the fields that were left out. Raises GatewayError naming a field that cannot be sent."""
    document = ask.document
    taken = _TAKEN_THINKING if thinks(ask.model) else _TAKEN
    dropped = settle_lacking(document, taken | surface.own if surface.own else taken, ask.policy, surface.who)
    conversation = _conversation(ask, surface)
    tooling = read_tooling(document, ask.model, validated=surface.validated, mixed=surface.mixed)
    settings = {**_settings(ask), **tooling.response}
    body: Document = {"contents": conversation.contents}
    if conversation.system:
        body["systemInstruction"] = {"parts": conversation.system}
    if tooling.tools:
        body["tools"] = tooling.tools
    if tooling.tool_config:
        body["toolConfig"] = tooling.tool_config
    if settings:
        body["generationConfig"] = settings
    for name, own_name in _OWN.items():
        if document.get(name) is not None:
            body[own_name] = document[name]
    for name in surface.own:
        if document.get(name) is not None:
            body[name] = document[name]
    if conversation.cache_marks or tooling.cache_marks:
        dropped.append("cache_control")
    for name in tooling.lost:
        if ask.policy.get(name) == "refuse":
            raise GatewayError(
                "unsupported_parameter", f"{surface.who} does not take '{name}' beside tools on this model.", param=name
            )
        dropped.append(name)
    return write(body), dropped


def write(body: Document) -> bytes:
    """`body` as JSON. Raises invalid_json for what JSON cannot carry: lone surrogates, too deep nesting."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise GatewayError("invalid_json", f"The request cannot be written as JSON: {error}.") from None


def _conversation(ask: Ask, surface: Surface) -> Conversation:
    messages = ask.document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a non-empty array")
    conversation = Conversation(ask.model, call_ids=surface.call_ids)
    for index, message in enumerate(messages):
        conversation.add(message, f"messages[{index}]")
    conversation.finish()
    return conversation


def _settings(ask: Ask) -> Document:
    """`generationConfig` without the form of the answer."""
    document = ask.document
    settings: Document = {}
    for name, own_name in _NUMBERS.items():
        value = document.get(name)
        if value is not None:
            if type(value) not in (int, float):
                raise invalid(name, "must be a number")
            settings[own_name] = value
    limit = _whole(document, "max_completion_tokens")
    limit = _whole(document, "max_tokens") if limit is None else limit
    if limit is not None:
        settings["maxOutputTokens"] = limit
    if (top_k := _whole(document, "top_k")) is not None:
        settings["topK"] = top_k
    if (seed := _whole(document, "seed")) is not None:
        settings["seed"] = seed if -_SEEDS <= seed < _SEEDS else seed % _SEEDS
    count = _whole(document, "n")
    if count is not None and count != 1:
        settings["candidateCount"] = count
    if stops := _stops(document.get("stop")):
        settings["stopSequences"] = stops
    if document.get("logprobs") is True:
        settings["responseLogprobs"] = True
        if top := _whole(document, "top_logprobs"):
            settings["logprobs"] = top
    thinking = thinking_config(document, ask.model) if thinks(ask.model) else None
    if thinking is not None:
        settings["thinkingConfig"] = thinking
    _set_output(ask, settings)
    for name in _OWN_SETTINGS:
        if document.get(name) is not None:
            settings[name] = document[name]
    return settings


def _whole(document: Document, name: str) -> int | None:
    value: Any = document.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise invalid(name, "must be an integer")
    return value


def _stops(value: object) -> list[str]:
    if value is None:
        return []
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(stop, str) for stop in found):
        raise invalid("stop", "must be a string or an array of strings")
    return found


def _set_output(ask: Ask, settings: Document) -> None:
    """Images and speech: a model that speaks gives nothing else, one that draws may write beside it.

    https://ai.google.dev/gemini-api/docs/speech-generation, …/image-generation (read 2026-11).
    """
    kinds = ask.document.get("modalities")
    if kinds is None:
        return
    if not isinstance(kinds, list) or not all(kind in ("text", "image", "audio") for kind in kinds):
        raise invalid("modalities", "must be an array of text, image and audio")
    if "audio" in kinds:
        settings["responseModalities"] = ["AUDIO"]
        _set_voice(ask, settings)
    elif "image" in kinds:
        settings["responseModalities"] = [kind.upper() for kind in kinds]


def _set_voice(ask: Ask, settings: Document) -> None:
    audio = ask.document.get("audio")
    if not isinstance(audio, dict):
        raise invalid("audio", "must be an object with voice and format where audio is asked for")
    wanted = audio.get("format")
    if wanted not in _AUDIO_FORMATS or (ask.stream and wanted == "wav"):
        raise invalid("audio.format", "must be pcm16, or wav where the answer is not streamed")
    voice = audio.get("voice")
    if isinstance(voice, str) and voice:
        settings["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
