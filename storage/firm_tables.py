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

_VISIT = plain(VisitRow)
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
        return column.in_(select(_VISIT.c.id).where(self.holds_day(_VISIT.c.local_day)))  # type: ignore[no-any-return]


def _in_span(table: TableName, span: Span) -> ColumnElement[bool]:
    columns = plain(_TABLES[table]).c
    if "local_day" in columns:
        return span.holds_day(columns.local_day)
    return span.holds_visit(columns.visit) if "visit" in columns else span.holds_moment(columns.at)


def rows(work: Work, table: TableName, span: Span | None = None) -> Iterator[Mapping[str, Any]]:
    """Every row of a table (or of some days) by column name, oldest first."""
    source = plain(_TABLES[table])
    query = select(source).order_by(source.c.id)
    for row in work.stream(query if span is None else query.where(_in_span(table, span))):
        yield row._asdict()


def visits(work: Work, span: Span | None = None) -> Iterator[tuple[date, Visit]]:
    """(local day, visit) of every visit, oldest first, undone ones too."""
    query = select(_VISIT).order_by(_VISIT.c.id)
    for row in work.stream(query if span is None else query.where(_in_span("visit", span))):
        yield row.local_day, visit_of(row)


def changes(work: Work, span: Span | None = None) -> Iterator[Change]:
    """Every change of every visit, oldest first."""
    change, account = plain(VisitChangeRow), plain(AccountRow)
    query = (
        select(change.c.visit, change.c.at, account.c.employee, change.c.before, change.c.after, change.c.undone_at)
        .outerjoin(account, account.c.id == change.c.account)
        .order_by(change.c.id)
    )
    for row in work.stream(query if span is None else query.where(_in_span("visit_change", span))):
        yield Change(
            visit=row.visit,
            at=row.at,
            by=row.employee,
            before=None if row.before is None else from_plain(row.before),
            after=from_plain(row.after),
            undone=row.undone_at is not None,
        )
