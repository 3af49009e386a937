"""Sources of an answer: Gemini's grounding and citation metadata as canonical `annotations`.

https://ai.google.dev/gemini-api/docs/google-search#understanding_the_grounding_response (read 2026-11).
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

# What an answer can plausibly cite; more is noise that a hostile provider could make us carry.
_MAX_ANNOTATIONS = 500


def citations(candidate: Document, text: str) -> list[Document]:
    """The sources that a candidate names, each with the characters of `text` that rest on it where that is known."""
    found: list[Document] = []
    grounding = candidate.get("groundingMetadata")
    if isinstance(grounding, dict):
        _add_grounding(grounding, text, found)
    cited = candidate.get("citationMetadata")
    if isinstance(cited, dict):
        sources = cited.get("citationSources") or cited.get("citations")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict) and isinstance(source.get("uri"), str):
                span = _span(source.get("startIndex"), source.get("endIndex"), None, text)
                found.append(_url_citation(source["uri"], source.get("title"), span))
    return found[:_MAX_ANNOTATIONS]


def _add_grounding(grounding: Document, text: str, found: list[Document]) -> None:
    chunks = grounding.get("groundingChunks")
    if not isinstance(chunks, list):
        return
    supports = grounding.get("groundingSupports")
    used: set[int] = set()
    for support in supports[:_MAX_ANNOTATIONS] if isinstance(supports, list) else ():
        segment = support.get("segment") if isinstance(support, dict) else None
        if not isinstance(segment, dict):
            continue
        span = _span(segment.get("startIndex"), segment.get("endIndex"), segment.get("text"), text)
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            if type(index) is int and 0 <= index < len(chunks) and len(found) < _MAX_ANNOTATIONS:
                used.add(index)
                _add_chunk(chunks[index], span, found)
    for index, chunk in enumerate(chunks[:_MAX_ANNOTATIONS]):
        if index not in used:
            _add_chunk(chunk, None, found)


def _add_chunk(chunk: object, span: tuple[int, int] | None, found: list[Document]) -> None:
    if not isinstance(chunk, dict):
        return
    for kind in ("web", "maps", "image"):
        source = chunk.get(kind)
        uri = source.get("uri") or source.get("sourceUri") if isinstance(source, dict) else None
        if isinstance(source, dict) and isinstance(uri, str):
            found.append(_url_citation(uri, source.get("title"), span))
            return
    source = chunk.get("retrievedContext")
    if isinstance(source, dict):
        cited: Document = {}
        name = source.get("title") or source.get("documentName") or source.get("uri")
        if isinstance(name, str):
            cited["filename"] = name
        if isinstance(source.get("text"), str):
            cited["text"] = source["text"]
        if span is not None:
            cited["start_index"], cited["end_index"] = span
        found.append({"type": "file_citation", "file_citation": cited})


def _url_citation(url: str, title: object, span: tuple[int, int] | None) -> Document:
    cited: Document = {"url": url}
    if isinstance(title, str):
        cited["title"] = title
    if span is not None:
        cited["start_index"], cited["end_index"] = span
    return {"type": "url_citation", "url_citation": cited}


def _span(start: object, end: object, said: object, text: str) -> tuple[int, int] | None:
    """Where in `text` the segment stands, in characters; Google counts bytes of UTF-8, and from a part's beginning."""
    start = 0 if start is None else start
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        return None
    if not text.isascii():
        whole = text.encode(errors="replace")
        start, end = (len(whole[:offset].decode(errors="ignore")) for offset in (start, end))
    if isinstance(said, str) and said and text[start:end] != said:
        start = text.find(said)
        end = start + len(said)
    return (start, end) if 0 <= start <= end <= len(text) else None
