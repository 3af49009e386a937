"""For Schemathesis: what a JSON schema cannot say of the requests that it makes up."""

from __future__ import annotations

import re
import uuid
from typing import Any

import schemathesis

_KEY = re.compile("(?=.{1,255}$)[!-~]([ -~]*[!-~])?")


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """A well-formed model name is made one that exists, and usage is only wished for on streams."""
    if not isinstance(body, dict):
        return body
    model, options = body.get("model"), body.get("stream_options")
    if isinstance(model, str) and 0 < len(model) <= 256:
        body = {**body, "model": "demo"}
    if isinstance(options, dict) and isinstance(body.get("stream"), (bool, type(None))) and "input" not in body:
        body = {**body, "stream": True}
    return body


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Any, kwargs: dict[str, Any]) -> None:
    """A well-formed idempotency key becomes one of its own, for with other bodies it would be refused."""
    for name, value in dict(case.headers or {}).items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and _KEY.fullmatch(value):
            case.headers[name] = str(uuid.uuid4())
