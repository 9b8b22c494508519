"""Read-only questions about the firm's work. Every one takes a Scope and filters in SQL: what is outside is not loaded.

A visit belongs to the district of its outlet; while the outlet is unknown, to the district of its rep.
"""

from datetime import date
from typing import TypeVarTuple

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true

from rules.people import Scope
from rules.visit import State, Visit
from storage import people, visits
from storage.database import Work
from storage.tables import NoteRow, OutletRow, PhotoRow, VisitRow

Columns = TypeVarTuple("Columns")


def visits_on(work: Work, scope: Scope, day: date) -> list[Visit]:
    """The visits of a local day, in the order they were opened; what was undone is left out."""
    query = select(VisitRow).where(VisitRow.local_day == day, VisitRow.state != State.VOID.value)
    rows = work.session.scalars(_within(work, scope, query).order_by(VisitRow.opened_at, VisitRow.id))
    return [visits.visit_of(row) for row in rows]


def visit(work: Work, scope: Scope, visit_id: int) -> Visit | None:
    row = work.session.scalar(_within(work, scope, select(VisitRow).where(VisitRow.id == visit_id)))
    return None if row is None else visits.visit_of(row)


def last_visits(work: Work, scope: Scope, rep: str, limit: int = 3) -> list[Visit]:
    """A rep's latest visits, open ones too, newest first."""
    query = select(VisitRow).where(VisitRow.rep == rep, VisitRow.state != State.VOID.value)
    newest = _within(work, scope, query).order_by(VisitRow.opened_at.desc(), VisitRow.id.desc()).limit(limit)
    return [visits.visit_of(row) for row in work.session.scalars(newest)]


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
        team = [person.code for person in people.staff(work) if scope.districts.intersection(person.districts)]
        return or_(
            OutletRow.district.in_(list(scope.districts)), and_(OutletRow.code.is_(None), VisitRow.rep.in_(team))
        )
    if scope.rep is not None:
        return VisitRow.rep == scope.rep
    return false()
