"""Gemini's answers as canonical ones.

https://ai.google.dev/api/generate-content#generatecontentresponse (read 2026-11).

An event of a stream has the same form as a whole answer, so `Choice` reads both: it gives what a candidate adds.
"""

from __future__ import annotations

import orjson

from gateway.errors import GatewayError
from gateway.wire.chunks import completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.gemini_audio import joined, whole_audio
from gateway.wire.gemini_citations import citations
from gateway.wire.gemini_error import error_in
from gateway.wire.gemini_messages import FORMAT
from gateway.wire.gemini_tools import answer_tool
from gateway.wire.gemini_usage import read_usage
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

# By their numbers in Vertex AI's Candidate.FinishReason, which is how some clients' proxies write them.
_NUMBERED = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "MODEL_ARMOR",
)
_FILTERED = frozenset(
    {
        "BLOCKLIST",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "LANGUAGE",
        "MODEL_ARMOR",
        "PROHIBITED_CONTENT",
        "RECITATION",
        "SAFETY",
        "SPII",
    }
)
_FINISH = {"MAX_TOKENS": "length", **dict.fromkeys(_FILTERED, "content_filter")}
_NO_REASON = frozenset({"", "FINISH_REASON_UNSPECIFIED"})
_ID_CHARS = 24


class Choice:
    """One candidate of an answer, whole or piece by piece. `native` is the reason it ended, empty while it has not."""

    __slots__ = (
        "_answer_tool",
        "_ask",
        "_calls",
        "_details",
        "_images",
        "_message",
        "_text",
        "_thought",
        "index",
        "native",
    )

    def __init__(self, ask: Ask, index: int) -> None:
        self._ask = ask
        self._answer_tool = answer_tool(ask.document, ask.model)
        self._calls = self._details = self._images = 0
        self._text: list[str] = []
        self._thought = -1
        self._message = ""
        self.index = index
        self.native = ""

    def read(self, candidate: Document) -> Document:
        """What this candidate adds, in the form of a stream's delta."""
        delta: Document = {}
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._read_part(part, delta)
        reason = candidate.get("finishReason")
        if type(reason) is int and 0 <= reason < len(_NUMBERED):
            reason = _NUMBERED[reason]
        if isinstance(reason, str) and reason not in _NO_REASON:
            self.native = reason
            said = candidate.get("finishMessage")
            self._message = said if isinstance(said, str) else self._message
        if candidate.get("groundingMetadata") or candidate.get("citationMetadata"):
            found = citations(candidate, "".join(self._text))
            if found:
                delta["annotations"] = found
        return delta

    def finish(self) -> tuple[str, str | None]:
        """The finish reason, and what a filter said where it left nothing of the answer."""
        reason = _FINISH.get(self.native, "stop")
        if reason == "content_filter":
            return reason, self._message if self._message and not (self._text or self._calls) else None
        return ("tool_calls", None) if self._calls and reason == "stop" else (reason, None)

    def _read_part(self, part: Document, delta: Document) -> None:
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        text = part.get("text")
        if isinstance(text, str):
            if part.get("thought") is True:
                self._add_thought(text, signature, delta)
                return
            if text:
                self._add_text(text, delta)
            if signature:
                self._add_detail({"type": "reasoning.encrypted", "data": signature}, delta)
        elif isinstance(part.get("functionCall"), dict):
            self._add_call(part["functionCall"], signature, delta)
        elif isinstance(part.get("inlineData"), dict):
            self._add_data(part["inlineData"], signature, delta)
        elif isinstance(part.get("executableCode"), dict):
            code = part["executableCode"]
            language = code.get("language")
            self._add_fence(str(language).lower() if isinstance(language, str) else "", code.get("code"), delta)
        elif isinstance(part.get("codeExecutionResult"), dict):
            self._add_fence("", part["codeExecutionResult"].get("output"), delta)

    def _add_text(self, text: str, delta: Document) -> None:
        self._text.append(text)
        delta["content"] = delta["content"] + text if "content" in delta else text

    def _add_fence(self, language: str, code: object, delta: Document) -> None:
        if isinstance(code, str) and code:
            before = "\n" if self._text and not self._text[-1].endswith("\n") else ""
            self._add_text(f"{before}```{language}\n{code.rstrip()}\n```\n", delta)

    def _add_thought(self, text: str, signature: str | None, delta: Document) -> None:
        """Pieces of one thought share an index; a signature ends it."""
        if not text and not signature:
            return
        if text:
            delta["reasoning_content"] = delta.get("reasoning_content", "") + text
        details = delta.get("reasoning_details")
        detail: Document
        if self._thought >= 0 and details:
            detail = details[-1]
            detail["text"] += text
        elif self._thought >= 0:
            detail = {"type": "reasoning.text", "text": text, "format": FORMAT, "index": self._thought}
            delta["reasoning_details"] = [detail]
        else:
            detail = self._add_detail({"type": "reasoning.text", "text": text}, delta)
            self._thought = detail["index"]
        if signature:
            detail["signature"] = signature
            self._thought = -1

    def _add_detail(self, detail: Document, delta: Document) -> Document:
        detail["format"] = FORMAT
        detail["index"] = self._details
        self._details += 1
        self._thought = -1
        delta.setdefault("reasoning_details", []).append(detail)
        return detail

    def _add_call(self, call: Document, signature: str | None, delta: Document) -> None:
        name, arguments = call.get("name"), call.get("args")
        written = orjson.dumps(arguments if isinstance(arguments, dict) else {}).decode()
        if self._answer_tool and name == self._answer_tool:
            self._add_text(written, delta)
            return
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id:
            call_id = self._made_id("call")
        function = {"name": name if isinstance(name, str) else "", "arguments": written}
        delta.setdefault("tool_calls", []).append(
            {"index": self._calls, "id": call_id, "type": "function", "function": function}
        )
        self._calls += 1
        if signature:
            self._add_detail({"type": "reasoning.encrypted", "data": signature, "id": call_id}, delta)

    def _made_id(self, kind: str) -> str:
        tail = self._ask.answer_id.removeprefix("chatcmpl-")[-_ID_CHARS:]
        choice = f"{self.index}_" if self.index else ""
        return f"{kind}_{tail}_{choice}{self._calls}"

    def _add_data(self, given: Document, signature: str | None, delta: Document) -> None:
        kind, data = given.get("mimeType"), given.get("data")
        if not isinstance(kind, str) or not isinstance(data, str):
            return
        if kind.startswith("audio/"):
            if "audio" in delta:
                data = joined(delta["audio"]["data"], data)
            delta["audio"] = {"id": self._made_id("audio"), "data": data}
            return
        if signature:
            self._add_detail({"type": "reasoning.encrypted", "data": signature, "id": f"image_{self._images}"}, delta)
        image = {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        delta.setdefault("images", []).append({"index": self._images, **image})
        self._images += 1


def logprobs(candidate: Document) -> Document | None:
    """OpenAI's `logprobs` of a candidate, None where it brings none."""
    result = candidate.get("logprobsResult")
    if not isinstance(result, dict):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    chosen = result.get("chosenCandidates")
    for index, token in enumerate(chosen if isinstance(chosen, list) else ()):
        told = _logprob(token)
        if told is None:
            continue
        others = tops[index].get("candidates") if index < len(tops) and isinstance(tops[index], dict) else None
        others = others if isinstance(others, list) else []
        told["top_logprobs"] = [other for other in map(_logprob, others) if other is not None]
        content.append(told)
    return {"content": content, "refusal": None}


def _logprob(token: object) -> Document | None:
    if not isinstance(token, dict) or not isinstance(token.get("token"), str):
        return None
    chance = token.get("logProbability")
    known = chance if type(chance) in (int, float) else -9999.0
    return {"token": token["token"], "logprob": known, "bytes": list(token["token"].encode(errors="replace"))}


def refused_prompt(document: Document) -> GatewayError | None:
    """What it means that the prompt was blocked; None where it was not."""
    feedback = document.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(feedback, dict) or not isinstance(reason, str | int) or reason in ("", 0):
        return None
    said = feedback.get("blockReasonMessage")
    message = said if isinstance(said, str) and said else f"The provider blocked the prompt: {reason}."
    return GatewayError("content_policy_violation", message)


def read_answer(ask: Ask, body: bytes, who: str) -> tuple[Document, Usage | None]:
    """The canonical answer of a whole body. Raises upstream_bad_answer, or what an error or a block in it means."""
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    if document.get("error"):
        raise error_in(document, who)
    candidates = document.get("candidates")
    found = [item for item in candidates if isinstance(item, dict)] if isinstance(candidates, list) else []
    if not found:
        raise refused_prompt(document) or GatewayError(
            "upstream_bad_answer", "The provider's answer has no candidates."
        )
    usage = read_usage(document.get("usageMetadata"))
    choices = [_whole_choice(ask, candidate, position) for position, candidate in enumerate(found)]
    answer_id = document.get("responseId")
    return completion(ask, choices, usage, answer_id=answer_id if isinstance(answer_id, str) else None), usage


def candidate_index(candidate: Document, position: int) -> int:
    """The candidate's own index, else its place in the list."""
    given = candidate.get("index")
    return given if type(given) is int and 0 <= given < 1024 else position


def _whole_choice(ask: Ask, candidate: Document, position: int) -> Document:
    choice = Choice(ask, candidate_index(candidate, position))
    delta = choice.read(candidate)
    message: Document = {"role": "assistant", "content": None, **delta}
    for listed in ("tool_calls", "images"):
        for item in message.get(listed, ()):
            del item["index"]
    if "audio" in message:
        message["audio"] = whole_audio(ask.document, message["audio"])
    reason, refusal = choice.finish()
    if refusal is not None:
        message["refusal"] = refusal
    whole: Document = {"index": choice.index, "message": message, "finish_reason": reason}
    if choice.native:
        whole["native_finish_reason"] = choice.native
    told = logprobs(candidate)
    if told is not None:
        whole["logprobs"] = told
    return whole
