"""Whole tables, row after row, for an export. Rows come as plain mappings, times aware; visits as visits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, select

from rules.visit import Visit
from storage.database import Work
from storage.tables import Base
from storage.tables.columns import plain
from storage.tables.managers import AlertRow
from storage.tables.people import AccountRow
from storage.tables.visits import (
    AppealRow,
    ConfirmationRow,
    FollowUpRow,
    NoteRow,
    PhotoRow,
    PlaceRow,
    VisitChangeRow,
    VisitRow,
)
from storage.visits import from_plain, visit_of

TableName = Literal["visit", "visit_change", "place", "photo", "note", "follow_up", "appeal", "alert", "confirmation"]

_AT_A_TIME = 500
_TABLES: dict[TableName, type[Base]] = {
    "visit": VisitRow,
    "visit_change": VisitChangeRow,
    "place": PlaceRow,
    "photo": PhotoRow,
    "note": NoteRow,
    "follow_up": FollowUpRow,
    "appeal": AppealRow,
    "alert": AlertRow,
    "confirmation": ConfirmationRow,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What one message changed in a visit. `by` is the employee's code, None for what nobody's message did."""

    visit: int
    at: datetime
    by: str | None
    before: Visit | None
    after: Visit
    undone: bool


def count(work: Work, table: TableName) -> int:
    return work.session.scalar(select(func.count()).select_from(_TABLES[table])) or 0


@dataclass(frozen=True, slots=True)
class Span:
    """Local days, the first and the last included. What belongs to a visit is of the day of that visit."""

    first: date
    last: date
    zone: ZoneInfo

    def holds_day(self, column: Any) -> ColumnElement[bool]:
        return column.between(self.first, self.last)  # type: ignore[no-any-return]

    def holds_moment(self, column: Any) -> ColumnElement[bool]:
        begins = datetime.combine(self.first, time(), self.zone)
        return and_(column >= begins, column < datetime.combine(self.last + timedelta(days=1), time(), self.zone))

    def holds_visit(self, column: Any) -> ColumnElement[bool]:
        return column.in_(select(VisitRow.id).where(self.holds_day(VisitRow.local_day)))  # type: ignore[no-any-return]


def _in_span(table: TableName, span: Span) -> ColumnElement[bool]:
    columns = _TABLES[table].__table__.c
    if "local_day" in columns:
        return span.holds_day(columns.local_day)
    return span.holds_visit(columns.visit) if "visit" in columns else span.holds_moment(columns.at)


def rows(work: Work, table: TableName, span: Span | None = None) -> Iterator[Mapping[str, Any]]:
    """Every row of a table (or of some days) by column name, oldest first."""
    source = _TABLES[table].__table__
    query = select(source).order_by(source.c.id).execution_options(yield_per=_AT_A_TIME)
    for row in work.session.execute(query if span is None else query.where(_in_span(table, span))).mappings():
        yield dict(row)


def visits(work: Work, span: Span | None = None) -> Iterator[tuple[date, Visit]]:
    """(local day, visit) of every visit, oldest first, undone ones too."""
    query = select(plain(VisitRow)).order_by(VisitRow.id).execution_options(yield_per=_AT_A_TIME)
    for row in work.session.execute(query if span is None else query.where(_in_span("visit", span))):
        yield row.local_day, visit_of(row)


def changes(work: Work, span: Span | None = None) -> Iterator[Change]:
    """Every change of every visit, oldest first."""
    query = (
        select(VisitChangeRow, AccountRow.employee)
        .outerjoin(AccountRow, AccountRow.id == VisitChangeRow.account)
        .order_by(VisitChangeRow.id)
        .execution_options(yield_per=_AT_A_TIME)
    )
    for row, by in work.session.execute(query if span is None else query.where(_in_span("visit_change", span))):
        yield Change(
            visit=row.visit,
            at=row.at,
            by=by,
            before=None if row.before is None else from_plain(row.before),
            after=from_plain(row.after),
            undone=row.undone_at is not None,
        )
