"""Money and times as the gateway's own JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

NANO_PER_USD: Final = 1_000_000_000


def usd(nano_usd: int) -> float:
    """US dollars; exact to the nano-dollar up to nine million."""
    return nano_usd / NANO_PER_USD


def shown_time(moment: datetime) -> str:
    """ISO 8601, UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
