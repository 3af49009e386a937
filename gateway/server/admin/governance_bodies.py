"""What `/admin/limits` and `/admin/budgets` take. Money is in US dollars; inside it is nano-dollars."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from gateway.server.admin.fields import Body, Name, Page, Query
from gateway.services.budgets.budget import DEFAULT_THRESHOLDS, MOST_NANO_USD, BudgetScope, OnStoreFailure, OnTooDear
from gateway.services.budgets.period import PeriodKind, known_zones
from gateway.services.budgets.periods import LONGEST_END_USER
from gateway.settings import MOST_A_LIMIT
from gateway.store.scopes import Scope

_NANO_USD = Decimal(10**9)
_LONGEST_AMOUNT = 24  # within the digits that Decimal multiplies exactly
_MOST_THRESHOLDS = 16
_MOST_END_USERS = 1_000_000


def _nano_usd(value: object) -> int:
    """A number, or text, of US dollars as whole nano-dollars."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > _LONGEST_AMOUNT:
        raise ValueError("must be a number of US dollars")
    try:
        nano_usd = Decimal(str(value)) * _NANO_USD
    except ArithmeticError:  # not a number, or out of all bounds
        raise ValueError("must be a number of US dollars") from None
    if not nano_usd.is_finite() or not 0 <= nano_usd <= MOST_NANO_USD:
        raise ValueError(f"must be 0 to {MOST_NANO_USD / 1e9:.2f} US dollars")
    if nano_usd % 1:
        raise ValueError("finer than a nano-dollar (9 decimals)")
    return int(nano_usd)


def _positive(nano_usd: int) -> int:
    if not nano_usd:
        raise ValueError("must be more than 0")
    return nano_usd


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _zone(name: str) -> str:
    if name not in known_zones():
        raise ValueError("no such time zone; give an IANA name such as Europe/Berlin")
    return name


def _rising(percents: list[int]) -> list[int]:
    return sorted(set(percents))


NanoUsd = Annotated[int, PlainValidator(_nano_usd)]
# What it must be depends on the scope, and is looked up.
_Subject = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
NumberOfLimit = Annotated[int, Field(ge=0, le=MOST_A_LIMIT)]
_ResetDay = Annotated[int, Field(ge=1, le=31)]
_Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
_Thresholds = Annotated[
    list[Annotated[int, Field(ge=1, le=1000)]], Field(max_length=_MOST_THRESHOLDS), AfterValidator(_rising)
]
_EndUser = Annotated[str, Field(min_length=1, max_length=LONGEST_END_USER), AfterValidator(_printable)]


class _Fields(Body):
    def given(self, *left_out: str) -> dict[str, Any]:
        """The fields that the body named, as the registers take them: money in nano-dollars."""
        names = self.model_fields_set.difference(left_out)
        return {_IN_NANO.get(name, name): value for name, value in self if name in names}


_IN_NANO = {"limit_usd": "limit_nano_usd", "unbounded_usd": "unbounded_nano_usd"}


class LimitChanges(_Fields):
    """`PATCH /admin/limits/{id}`: what is left away stays, null takes a number away."""

    requests_per_minute: NumberOfLimit | None = None
    requests_per_hour: NumberOfLimit | None = None
    requests_per_day: NumberOfLimit | None = None
    tokens_per_minute: NumberOfLimit | None = None
    tokens_per_hour: NumberOfLimit | None = None
    tokens_per_day: NumberOfLimit | None = None
    max_concurrency: NumberOfLimit | None = None
    on_store_failure: OnStoreFailure = "local"


class NewLimit(LimitChanges):
    """`POST /admin/limits`."""

    scope: Scope
    subject: _Subject = ""
    model: Name | None = None


class BudgetChanges(_Fields):
    """`PATCH /admin/budgets/{id}`: what is left away stays."""

    name: Name = ""
    limit_usd: NanoUsd = 0
    period: PeriodKind = "month"
    reset_day: _ResetDay = 1
    time_zone: _Zone = "UTC"
    thresholds: _Thresholds = Field(default_factory=lambda: list(DEFAULT_THRESHOLDS))
    hard: bool = True
    on_too_dear: OnTooDear = "clamp"
    unbounded_usd: NanoUsd | None = None
    max_end_users: Annotated[int, Field(ge=1, le=_MOST_END_USERS)] | None = None
    on_store_failure: OnStoreFailure = "local"


class NewBudget(BudgetChanges):
    """`POST /admin/budgets`."""

    scope: BudgetScope
    subject: _Subject = ""
    model: Name | None = None
    limit_usd: NanoUsd


class TopUp(Body):
    """`POST /admin/budgets/{id}/top-up`: by how much, and of an end_user budget whose."""

    amount_usd: Annotated[NanoUsd, AfterValidator(_positive)]
    end_user: _EndUser | None = None


class Reset(Body):
    """`POST /admin/budgets/{id}/reset`: of an end_user budget whose, or (not given) everybody's."""

    end_user: _EndUser | None = None


class BudgetOfKey(_Fields):
    """`budget` of `POST /admin/keys` and `PATCH /admin/keys/{id}`: what is left away stays, or is month and 1."""

    limit_usd: NanoUsd = 0
    period: PeriodKind = "month"
    reset_day: _ResetDay = 1


class _PlacePage(Page):
    subject: _Subject | None = None
    model: Name | None = None


class LimitPage(_PlacePage):
    """The query of `GET /admin/limits`."""

    scope: Scope | None = None


class BudgetPage(_PlacePage):
    """The query of `GET /admin/budgets`."""

    scope: BudgetScope | None = None


class OneBudget(Query):
    """The query of `GET /admin/budgets/{id}`: whose period to show, of an end_user budget."""

    end_user: Literal[""] | _EndUser = ""
