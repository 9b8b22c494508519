"""Read-only questions about the firm's work. Every one takes a Scope and filters in SQL: what is outside is not loaded.

A visit belongs to the district of its outlet; while the outlet is unknown, to the district of its rep.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true

from rules.evidence import Level
from rules.people import Scope
from rules.visit import Outcome, State, Visit
from storage import people, visits
from storage.database import Work
from storage.many import among
from storage.tables import NoteRow, OutletRow, PhotoRow, VisitRow, plain

Columns = TypeVarTuple("Columns")

_VISIT = plain(VisitRow)


def visits_on(
    work: Work, scope: Scope, day: date, *, district: str | None = None, skip: int = 0, most: int | None = None
) -> list[Visit]:
    """The visits of a local day, in the order they were opened, at most so many behind those skipped; what was undone
    is left out. With `district` those of its outlets; while the outlet is unknown, of reps whose first district it is.
    """
    query = select(_VISIT).where(VisitRow.local_day == day, VisitRow.state != State.VOID.value)
    if district is not None:
        reps = [one.code for one in people.staff(work) if next(iter(one.districts), "") == district]
        unknown = and_(OutletRow.code.is_(None), among(work, VisitRow.rep, reps))
        query = query.where(or_(OutletRow.district == district, unknown))
    query = _within(work, scope, query).order_by(VisitRow.opened_at, VisitRow.id)
    return [visits.visit_of(row) for row in work.run(query.limit(most).offset(skip or None))]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many visits of a day are alike: the district of their outlet (None while that is not known), their rep,
    state, outcome (None where none is certain) and grade.
    """

    district: str | None
    rep: str
    state: State
    outcome: Outcome | None
    level: Level | None
    count: int


def tallies_on(work: Work, scope: Scope, day: date) -> list[Tally]:
    """The visits of a local day counted, what was undone left out."""
    alike = (OutletRow.district, VisitRow.rep, VisitRow.state, VisitRow.outcome, VisitRow.grade)
    query = select(*alike, func.count()).select_from(VisitRow)
    query = query.where(VisitRow.local_day == day, VisitRow.state != State.VOID.value).group_by(*alike)
    rows: list[Any] = list(work.run(_within(work, scope, query)))
    return [
        Tally(
            district, rep, State(state), Outcome(outcome) if outcome else None, Level(grade) if grade else None, count
        )
        for district, rep, state, outcome, grade, count in rows
    ]


def visit(work: Work, scope: Scope, visit_id: int) -> Visit | None:
    row = work.run(_within(work, scope, select(_VISIT).where(VisitRow.id == visit_id))).one_or_none()
    return None if row is None else visits.visit_of(row)


def last_visits(work: Work, scope: Scope, rep: str, limit: int = 3) -> list[Visit]:
    """A rep's latest visits, open ones too, newest first."""
    query = select(_VISIT).where(VisitRow.rep == rep, VisitRow.state != State.VOID.value)
    newest = _within(work, scope, query).order_by(VisitRow.opened_at.desc(), VisitRow.id.desc()).limit(limit)
    return [visits.visit_of(row) for row in work.run(newest)]


def photo_file(work: Work, scope: Scope, photo_id: int) -> tuple[str, str] | None:
    """(content hash, MIME type) of a photo of a visit inside the scope."""
    query = select(PhotoRow.file, PhotoRow.mime).join(VisitRow, VisitRow.id == PhotoRow.visit)
    row = work.session.execute(_within(work, scope, query.where(PhotoRow.id == photo_id))).one_or_none()
    return None if row is None else (row.file, row.mime)


def note_file(work: Work, scope: Scope, note_id: int) -> tuple[str, str] | None:
    """(content hash, MIME type) of a voice note of a visit inside the scope; a typed one has no file."""
    query = select(NoteRow.file, NoteRow.mime).join(VisitRow, VisitRow.id == NoteRow.visit)
    row = work.session.execute(_within(work, scope, query.where(NoteRow.id == note_id))).one_or_none()
    return None if row is None or not row.file else (row.file, row.mime)


def _within(work: Work, scope: Scope, query: Select[*Columns]) -> Select[*Columns]:
    return query.outerjoin(OutletRow, OutletRow.code == VisitRow.outlet).where(_seen_by(work, scope))


def _seen_by(work: Work, scope: Scope) -> ColumnElement[bool]:
    if scope.everything:
        return true()
    if scope.districts:
        return or_(
            OutletRow.district.in_(list(scope.districts)),
            and_(OutletRow.code.is_(None), among(work, VisitRow.rep, _team(work, scope))),
        )
    if scope.rep is not None:
        return VisitRow.rep == scope.rep
    return false()


def _team(work: Work, scope: Scope) -> list[str]:
    """Whoever has one of the scope's districts, also who left."""
    key = ("team", scope)
    if key not in work.memo:
        work.memo[key] = [one.code for one in people.staff(work) if scope.districts.intersection(one.districts)]
    return list(work.memo[key])
