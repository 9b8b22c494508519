"""Positions, photos, notes and appeals: what a visit's answers point to by id."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from rules.evidence import Photo, Place, PlaceKind
from rules.places import Point
from storage.database import Work
from storage.tables import AppealRow, NoteRow, PhotoRow, PlaceRow

BY_CHANNEL = "channel"  # the engine of words that the channel itself recognised


@dataclass(frozen=True, slots=True)
class Note:
    """A voice note or a typed summary. `state`: waiting, heard, unsure, silent, broken, no_model, typed.

    `channel_text`: what `channel` itself recognised, whether or not it was taken.
    """

    rep: str
    at: datetime
    state: str
    visit: int | None = None
    file: str = ""
    mime: str = ""
    seconds: float | None = None
    text: str = ""
    confidence: float | None = None
    engine: str = ""
    channel: str = ""
    channel_text: str = ""
    id: int = 0

    @property
    def words_from(self) -> str:
        """The channel that recognised the words; empty for those typed or heard by our own recogniser."""
        return self.channel if self.engine == BY_CHANNEL else ""


@dataclass(frozen=True, slots=True)
class Appeal:
    """A rep's objection to a grade. `state`: open, upheld, rejected."""

    visit: int
    rep: str
    words: str
    at: datetime
    state: str = "open"
    decided_by: str | None = None
    id: int = 0


def add_place(work: Work, rep: str, place: Place, inbox: int | None) -> int:
    row = PlaceRow(
        rep=rep,
        at=place.at,
        lat=place.point.lat,
        lon=place.point.lon,
        raw_lat=place.raw.lat,
        raw_lon=place.raw.lon,
        datum=place.datum,
        kind=place.kind.value,
        accuracy_m=place.accuracy_m,
        fixed_at=place.fixed_at,
        inbox=inbox,
    )
    work.session.add(row)
    work.session.flush()
    return row.id


def places(work: Work, ids: Collection[int]) -> dict[int, Place]:
    rows = work.session.scalars(select(PlaceRow).where(PlaceRow.id.in_(list(ids))))
    return {row.id: _place(row) for row in rows}


def last_place(work: Work, rep: str, kind: PlaceKind, since: datetime, until: datetime) -> Place | None:
    """The rep's latest position of this kind between two moments."""
    row = work.session.scalar(
        select(PlaceRow)
        .where(PlaceRow.rep == rep, PlaceRow.kind == kind.value, PlaceRow.at >= since, PlaceRow.at <= until)
        .order_by(PlaceRow.at.desc(), PlaceRow.id.desc())
        .limit(1)
    )
    return None if row is None else _place(row)


def add_photo(
    work: Work,
    rep: str,
    visit: int | None,
    photo: Photo,
    *,
    mime: str,
    size: tuple[int, int],
    phash_quality: int,
    inbox: int | None,
) -> int:
    row = PhotoRow(
        rep=rep,
        visit=visit,
        at=photo.at,
        file=photo.file,
        mime=mime,
        width=size[0],
        height=size[1],
        taken_at=photo.taken_at,
        taken_lat=photo.taken_where.lat if photo.taken_where else None,
        taken_lon=photo.taken_where.lon if photo.taken_where else None,
        phash=photo.phash,
        phash_quality=phash_quality,
        same_as=photo.same_as,
        inbox=inbox,
    )
    work.session.add(row)
    work.session.flush()
    return row.id


def photos(work: Work, ids: Collection[int]) -> dict[int, Photo]:
    rows = work.session.scalars(select(PhotoRow).where(PhotoRow.id.in_(list(ids))))
    return {row.id: _photo(row) for row in rows}


def photo_files(work: Work, since: datetime, not_visit: int | None) -> list[tuple[int, int | None, str, str, int]]:
    """(photo, visit, file, phash, quality) of every photo since then that belongs to another visit, oldest first."""
    query = select(PhotoRow.id, PhotoRow.visit, PhotoRow.file, PhotoRow.phash, PhotoRow.phash_quality).where(
        PhotoRow.at >= since, PhotoRow.visit.is_not(None)
    )
    if not_visit is not None:
        query = query.where(PhotoRow.visit != not_visit)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in work.session.execute(query.order_by(PhotoRow.id))]


def add_note(work: Work, note: Note, inbox: int | None) -> int:
    row = NoteRow(
        rep=note.rep,
        visit=note.visit,
        at=note.at,
        file=note.file,
        mime=note.mime,
        seconds=note.seconds,
        state=note.state,
        text=note.text,
        confidence=note.confidence,
        engine=note.engine,
        channel=note.channel,
        channel_text=note.channel_text,
        inbox=inbox,
    )
    work.session.add(row)
    work.session.flush()
    return row.id


def note(work: Work, note_id: int) -> Note | None:
    row = work.session.get(NoteRow, note_id)
    return None if row is None else _note(row)


def note_of_inbox(work: Work, delivery: int) -> Note | None:
    """The note that came with a delivery."""
    row = work.session.scalar(select(NoteRow).where(NoteRow.inbox == delivery))
    return None if row is None else _note(row)


def notes(work: Work, ids: Collection[int]) -> dict[int, Note]:
    rows = work.session.scalars(select(NoteRow).where(NoteRow.id.in_(list(ids))))
    return {row.id: _note(row) for row in rows}


def notes_without_model(work: Work) -> list[Note]:
    """Voice notes kept for the day the recogniser's model is there."""
    rows = work.session.scalars(select(NoteRow).where(NoteRow.state == "no_model").order_by(NoteRow.id))
    return [_note(row) for row in rows]


def notes_waiting(work: Work, until: datetime, since: datetime) -> list[Note]:
    """Notes that came between these moments and are not heard yet."""
    rows = work.session.scalars(
        select(NoteRow).where(NoteRow.state == "waiting", NoteRow.at <= until, NoteRow.at >= since).order_by(NoteRow.id)
    )
    return [_note(row) for row in rows]


def heard(
    work: Work,
    note_id: int,
    now: datetime,
    *,
    state: str,
    text: str = "",
    confidence: float | None = None,
    engine: str = "",
    seconds: float | None = None,
) -> None:
    """Keep what the recogniser made of a note. A later result never replaces one that was heard."""
    values = {"state": state, "text": text, "confidence": confidence, "engine": engine, "heard_at": now}
    if seconds is not None:
        values["seconds"] = seconds
    work.session.execute(update(NoteRow).where(NoteRow.id == note_id, NoteRow.state != "heard").values(**values))


def not_heard_yet(work: Work, note_id: int) -> None:
    """A note that was given up as broken waits to be heard, as one that was kept for want of a model."""
    broken = update(NoteRow).where(NoteRow.id == note_id, NoteRow.state == "broken")
    work.session.execute(broken.values(state="no_model"))


def move_evidence(work: Work, visit: int, photo_ids: Collection[int], note_ids: Collection[int]) -> None:
    """Let photos and notes belong to another visit."""
    work.session.execute(update(PhotoRow).where(PhotoRow.id.in_(list(photo_ids))).values(visit=visit))
    work.session.execute(update(NoteRow).where(NoteRow.id.in_(list(note_ids))).values(visit=visit))


def add_appeal(work: Work, appeal: Appeal) -> int:
    row = AppealRow(visit=appeal.visit, rep=appeal.rep, words=appeal.words, at=appeal.at, state=appeal.state)
    work.session.add(row)
    work.session.flush()
    return row.id


def appeal(work: Work, appeal_id: int) -> Appeal | None:
    row = work.session.get(AppealRow, appeal_id)
    return None if row is None else _appeal(row)


def appeals_of(work: Work, visit: int) -> list[Appeal]:
    rows = work.session.scalars(select(AppealRow).where(AppealRow.visit == visit).order_by(AppealRow.id))
    return [_appeal(row) for row in rows]


def decide_appeal(work: Work, appeal_id: int, state: str, by: str, now: datetime) -> bool:
    """True when it was still open."""
    decided = work.session.execute(
        update(AppealRow)
        .where(AppealRow.id == appeal_id, AppealRow.state == "open")
        .values(state=state, decided_by=by, decided_at=now)
        .returning(AppealRow.id)
    )
    return decided.scalar_one_or_none() is not None


def _place(row: PlaceRow) -> Place:
    return Place(
        point=Point(row.lat, row.lon),
        kind=PlaceKind(row.kind),
        at=row.at,
        raw=Point(row.raw_lat, row.raw_lon),
        datum="gcj02" if row.datum == "gcj02" else "wgs84",
        accuracy_m=row.accuracy_m,
        fixed_at=row.fixed_at,
        id=row.id,
    )


def _photo(row: PhotoRow) -> Photo:
    where = Point(row.taken_lat, row.taken_lon) if row.taken_lat is not None and row.taken_lon is not None else None
    return Photo(
        file=row.file,
        at=row.at,
        taken_at=row.taken_at,
        taken_where=where,
        phash=row.phash,
        same_as=row.same_as,
        id=row.id,
    )


def _note(row: NoteRow) -> Note:
    return Note(
        rep=row.rep,
        at=row.at,
        state=row.state,
        visit=row.visit,
        file=row.file,
        mime=row.mime,
        seconds=row.seconds,
        text=row.text,
        confidence=row.confidence,
        engine=row.engine,
        channel=row.channel,
        channel_text=row.channel_text,
        id=row.id,
    )


def _appeal(row: AppealRow) -> Appeal:
    return Appeal(
        visit=row.visit,
        rep=row.rep,
        words=row.words,
        at=row.at,
        state=row.state,
        decided_by=row.decided_by,
        id=row.id,
    )
