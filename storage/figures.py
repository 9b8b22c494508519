"""Read-only questions about the firm's work, answered within the scope of the unit of work."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from rules.evidence import Level
from rules.visit import Outcome, State, Visit
from storage import people, visits
from storage.database import Work
from storage.many import among, one_of
from storage.tables.columns import plain
from storage.tables.firm import EmployeeRow, OutletRow
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


def last_visits(work: Work, reps: Collection[str], limit: int = 3) -> dict[str, list[Visit]]:
    """The latest visits of each of these reps, open ones too, newest first; who has none is there with none."""
    latest: list[Any] = list(work.run(_latest(limit), reps=reps))
    found = visits.by_ids(work, [number for _, *numbers in latest for number in numbers if number is not None])
    last = {rep: [found[number] for number in numbers if number in found] for rep, *numbers in latest}
    return {rep: last.get(rep, []) for rep in reps}


@cache
def _latest(limit: int) -> Select[Any]:
    """(rep, the numbers of the latest visits): a look into the index for each, where a window would read them all."""
    person = plain(EmployeeRow)
    newest = (
        select(_VISIT.c.id)
        .where(_VISIT.c.rep == person.c.code, _VISIT.c.state != State.VOID.value)
        .order_by(_VISIT.c.opened_at.desc(), _VISIT.c.id.desc())
        .limit(1)
    )
    nth = (newest.offset(number).scalar_subquery().label(f"visit_{number}") for number in range(limit))
    return select(person.c.code, *nth).where(one_of(person.c.code, "reps"))


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
