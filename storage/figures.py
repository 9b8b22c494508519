"""Read-only questions about the firm's work, answered within the scope of the unit of work."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from rules.visit import State, Visit
from storage import visits
from storage.database import Work
from storage.tables import NoteRow, PhotoRow, VisitRow


@dataclass(frozen=True, slots=True)
class FileOf:
    """A file of somebody's evidence: the hash it is kept under, its MIME type, and whose it is."""

    file: str
    mime: str
    rep: str


def visits_on(work: Work, day: date) -> list[Visit]:
    """The visits of a local day, in the order they were opened; what was undone is left out."""
    query = select(VisitRow).where(VisitRow.local_day == day, VisitRow.state != State.VOID.value)
    rows = work.session.scalars(query.order_by(VisitRow.opened_at, VisitRow.id))
    return [visits.visit_of(row) for row in rows]


def visit(work: Work, visit_id: int) -> Visit | None:
    row = work.session.scalar(select(VisitRow).where(VisitRow.id == visit_id))
    return None if row is None else visits.visit_of(row)


def last_visits(work: Work, rep: str, limit: int = 3) -> list[Visit]:
    """A rep's latest visits, open ones too, newest first."""
    query = select(VisitRow).where(VisitRow.rep == rep, VisitRow.state != State.VOID.value)
    newest = query.order_by(VisitRow.opened_at.desc(), VisitRow.id.desc()).limit(limit)
    return [visits.visit_of(row) for row in work.session.scalars(newest)]


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
