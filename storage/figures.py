"""Read-only questions about the firm's work, answered within the scope of the unit of work."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import and_, func, or_, select

from rules.evidence import Level
from rules.visit import Outcome, State, Visit
from storage import people, visits
from storage.database import Work
from storage.many import among
from storage.tables.columns import plain
from storage.tables.firm import OutletRow
from storage.tables.visits import NoteRow, PhotoRow, VisitRow

_VISIT = plain(VisitRow)


@dataclass(frozen=True, slots=True)
class FileOf:
    """A file of somebody's evidence: the hash it is kept under, its MIME type, and whose it is."""

    file: str
    mime: str
    rep: str


def visits_on(
    work: Work, day: date, *, district: str | None = None, skip: int = 0, most: int | None = None
) -> list[Visit]:
    """The visits of a local day, in the order they were opened, at most so many behind those skipped; what was undone
    is left out. With `district` those of its outlets; while the outlet is unknown, of reps whose first district it is.
    """
    query = select(_VISIT).where(VisitRow.local_day == day, VisitRow.state != State.VOID.value)
    if district is not None:
        reps = [one.code for one in people.staff(work) if next(iter(one.districts), "") == district]
        unknown = and_(OutletRow.code.is_(None), among(work, VisitRow.rep, reps))
        query = query.outerjoin(OutletRow, OutletRow.code == VisitRow.outlet)
        query = query.where(or_(OutletRow.district == district, unknown))
    query = query.order_by(VisitRow.opened_at, VisitRow.id)
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


def tallies_on(work: Work, day: date) -> list[Tally]:
    """The visits of a local day counted, what was undone left out."""
    alike = (OutletRow.district, VisitRow.rep, VisitRow.state, VisitRow.outcome, VisitRow.grade)
    query = select(*alike, func.count()).select_from(VisitRow)
    query = query.outerjoin(OutletRow, OutletRow.code == VisitRow.outlet)
    query = query.where(VisitRow.local_day == day, VisitRow.state != State.VOID.value).group_by(*alike)
    rows: list[Any] = list(work.run(query))
    return [
        Tally(
            district, rep, State(state), Outcome(outcome) if outcome else None, Level(grade) if grade else None, count
        )
        for district, rep, state, outcome, grade, count in rows
    ]


def visit(work: Work, visit_id: int) -> Visit | None:
    row = work.run(select(_VISIT).where(VisitRow.id == visit_id)).one_or_none()
    return None if row is None else visits.visit_of(row)


def last_visits(work: Work, rep: str, limit: int = 3) -> list[Visit]:
    """A rep's latest visits, open ones too, newest first."""
    query = select(_VISIT).where(VisitRow.rep == rep, VisitRow.state != State.VOID.value)
    newest = query.order_by(VisitRow.opened_at.desc(), VisitRow.id.desc()).limit(limit)
    return [visits.visit_of(row) for row in work.run(newest)]


def photo_file(work: Work, photo_id: int) -> FileOf | None:
    """The file of a photo of a visit."""
    query = select(PhotoRow.file, PhotoRow.mime, PhotoRow.rep).join(VisitRow, VisitRow.id == PhotoRow.visit)
    row = work.session.execute(query.where(PhotoRow.id == photo_id)).one_or_none()
    return None if row is None else FileOf(row.file, row.mime, row.rep)


def note_file(work: Work, note_id: int) -> FileOf | None:
    """The file of a voice note of a visit; a typed one has none."""
    query = select(NoteRow.file, NoteRow.mime, NoteRow.rep).join(VisitRow, VisitRow.id == NoteRow.visit)
    row = work.session.execute(query.where(NoteRow.id == note_id)).one_or_none()
    return None if row is None or not row.file else FileOf(row.file, row.mime, row.rep)
