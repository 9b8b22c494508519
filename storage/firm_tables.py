"""Whole tables, row after row, for an export. Rows come as plain mappings, times aware; visits as visits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import func, select

from rules.visit import Visit
from storage.database import Work
from storage.tables import (
    AccountRow,
    AlertRow,
    AppealRow,
    Base,
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


def rows(work: Work, table: TableName) -> Iterator[Mapping[str, Any]]:
    """Every row of a table by column name, oldest first."""
    source = _TABLES[table].__table__
    found = work.session.execute(select(source).order_by(source.c.id).execution_options(yield_per=_AT_A_TIME))
    for row in found.mappings():
        yield dict(row)


def visits(work: Work) -> Iterator[tuple[date, Visit]]:
    """(local day, visit) of every visit, oldest first, undone ones too."""
    query = select(VisitRow).order_by(VisitRow.id).execution_options(yield_per=_AT_A_TIME)
    for row in work.session.scalars(query):
        yield row.local_day, visit_of(row)


def changes(work: Work) -> Iterator[Change]:
    """Every change of every visit, oldest first."""
    query = (
        select(VisitChangeRow, AccountRow.employee)
        .outerjoin(AccountRow, AccountRow.id == VisitChangeRow.account)
        .order_by(VisitChangeRow.id)
        .execution_options(yield_per=_AT_A_TIME)
    )
    for row, by in work.session.execute(query):
        yield Change(
            visit=row.visit,
            at=row.at,
            by=by,
            before=None if row.before is None else from_plain(row.before),
            after=from_plain(row.after),
            undone=row.undone_at is not None,
        )
