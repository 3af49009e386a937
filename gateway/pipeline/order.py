"""THE list: what happens to a request, in this order. Dispatch follows the last stage."""

from __future__ import annotations

ORDER = (
    "authenticate",
    "admit",
    "read_request",
    "choose_route",
    "check_references",
    "answer_once",
    "limit_rate",
    "check_budget",
    "meter",
)
