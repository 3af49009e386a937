"""Providers and models as an administrator sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

# The configuration's are read-only in the admin API.
ManagedBy = Literal["config", "admin"]


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """One provider as an administrator sees it; `document` is as in YAML, secrets as references or `stored`."""

    id: str
    name: str
    type: str
    base_url: str | None
    managed_by: ManagedBy
    enabled: bool
    document: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One model as an administrator sees it; `document` is as in YAML."""

    id: str
    name: str
    managed_by: ManagedBy
    enabled: bool
    document: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


def provider_record(row: asyncpg.Record) -> ProviderRecord:
    """From a row of the query `providers`."""
    document = {key: value for key, value in (row["configuration"] or {}).items() if key not in ("type", "base_url")}
    return ProviderRecord(
        id=str(row["id"]),
        name=row["provider_name"],
        type=row["provider_type"],
        base_url=row["api_endpoint"],
        managed_by=row["managed_by"],
        enabled=bool(row["enabled"]),
        document=document,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def model_record(row: asyncpg.Record) -> ModelRecord:
    """From a row of the query `models`."""
    return ModelRecord(
        id=str(row["id"]),
        name=row["model_name"],
        managed_by=row["managed_by"],
        enabled=bool(row["enabled"]),
        document={key: value for key, value in (row["configuration"] or {}).items() if key != "name"},
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def facts_of(record: ProviderRecord | ModelRecord | None) -> dict[str, Any] | None:
    """What the audit log keeps: the document names secrets, and never has one."""
    if record is None:
        return None
    return {name: value for name, value in asdict(record).items() if name not in ("created_at", "updated_at")}
