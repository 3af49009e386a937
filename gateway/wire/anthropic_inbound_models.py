"""Models as Anthropic's API lists them: GET /v1/models and /v1/models/{id}.

https://platform.claude.com/docs/en/api/models-list (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.wire.checks import invalid
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json

DEFAULT_LIMIT = 20
_MAX_LIMIT = 1000
# When a model came out is not known here; for that Anthropic's docs give the epoch.
_UNKNOWN_TIME = "1970-01-01T00:00:00Z"


def render_models(
    names: Sequence[str], *, limit: int = DEFAULT_LIMIT, after_id: str | None = None, before_id: str | None = None
) -> bytes:
    """A page of `names` in their order: behind `after_id`, or before `before_id`, at most `limit` of them.

    Raises invalid_field for a limit outside 1 to 1000, for both ends at once, and for one that is not in the list.
    """
    if not 1 <= limit <= _MAX_LIMIT:
        raise invalid("limit", f"must be from 1 to {_MAX_LIMIT}")
    if after_id is not None and before_id is not None:
        raise invalid("before_id", "cannot be given together with after_id")
    if before_id is not None:
        end = _place(names, before_id, "before_id")
        start = max(end - limit, 0)
        more = start > 0
    else:
        start = 0 if after_id is None else _place(names, after_id, "after_id") + 1
        end = min(start + limit, len(names))
        more = end < len(names)
    page = names[start:end]
    return to_json(
        {
            "data": [_model(name) for name in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def render_model(name: str) -> bytes:
    """One model."""
    return to_json(_model(name))


def _place(names: Sequence[str], name: str, field: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise invalid(field, "names no model of this list") from None


def _model(name: str) -> Document:
    # What is listed can be asked for; that is what `active` says.
    return {"type": "model", "id": name, "display_name": name, "created_at": _UNKNOWN_TIME, "lifecycle": "active"}
