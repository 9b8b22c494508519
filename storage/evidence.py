"""Positions, photos, notes and appeals: what a visit's answers point to by id."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Executable, bindparam, insert, select, update

from rules.evidence import Photo, Place, PlaceKind
from rules.places import Point
from storage import photo_pieces
from storage.database import Work, insert_one
from storage.many import one_of
from storage.tables.columns import plain
from storage.tables.visits import AppealRow, NoteRow, PhotoRow, PlaceRow

Kind = TypeVar("Kind")

_PLACE, _PHOTO, _NOTE = plain(PlaceRow), plain(PhotoRow), plain(NoteRow)
_ADD_PLACE, _ADD_PHOTO, _ADD_NOTE = insert(_PLACE), insert(_PHOTO), insert(_NOTE)
# (of several numbers, of one): the latter is most of them, and its statement is the same each time.
_PLACES, _PHOTOS, _NOTES = (
    (
        select(table).where(one_of(table.c.id, "ids")),
        select(table).where(table.c.id == bindparam("row_id")),
    )
    for table in (_PLACE, _PHOTO, _NOTE)
)

_KINDS = {kind.value: kind for kind in PlaceKind}

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
    number = insert_one(
        work,
        _ADD_PLACE,
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
    work.memo["place", number] = replace(place, id=number)
    return number


def places(work: Work, ids: Collection[int]) -> dict[int, Place]:
    return _known(work, "place", _PLACES, _place, ids)


def _known(
    work: Work, name: str, statements: tuple[Executable, Executable], made: Callable[[Any], Kind], ids: Collection[int]
) -> dict[int, Kind]:
    """By number, in order of the numbers; only what this transaction has not seen is read."""
    lacking = [number for number in ids if (name, number) not in work.memo]
    if lacking:
        several, one = statements
        rows = work.run(one, row_id=lacking[0]) if len(lacking) == 1 else work.run(several, ids=lacking)
        work.memo.update({(name, row.id): made(row) for row in rows})
    return {number: work.memo[name, number] for number in sorted(ids) if (name, number) in work.memo}


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
    number = insert_one(
        work,
        _ADD_PHOTO,
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
    photo_pieces.keep(work, number, photo.at, photo.phash, phash_quality)
    work.memo["photo", number] = replace(photo, id=number)
    return number


def photos(work: Work, ids: Collection[int]) -> dict[int, Photo]:
    return _known(work, "photo", _PHOTOS, _photo, ids)


def add_note(work: Work, note: Note, inbox: int | None) -> int:
    number = insert_one(
        work,
        _ADD_NOTE,
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
    work.memo["note", number] = replace(note, id=number)
    return number


def note(work: Work, note_id: int) -> Note | None:
    return notes(work, [note_id]).get(note_id)


def note_of_inbox(work: Work, delivery: int) -> Note | None:
    """The note that came with a delivery."""
    row = work.run(select(_NOTE).where(_NOTE.c.inbox == delivery)).one_or_none()
    return None if row is None else _note(row)


def notes(work: Work, ids: Collection[int]) -> dict[int, Note]:
    return _known(work, "note", _NOTES, _note, ids)


def notes_without_model(work: Work) -> list[Note]:
    """Voice notes kept for the day the recogniser's model is there."""
    rows = work.run(select(_NOTE).where(_NOTE.c.state == "no_model").order_by(_NOTE.c.id))
    return [_note(row) for row in rows]


def notes_waiting(work: Work, until: datetime, since: datetime) -> list[Note]:
    """Notes that came between these moments and are not heard yet."""
    rows = work.run(
        select(_NOTE).where(_NOTE.c.state == "waiting", _NOTE.c.at <= until, _NOTE.c.at >= since).order_by(_NOTE.c.id)
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
    work.run(update(_NOTE).where(_NOTE.c.id == note_id, _NOTE.c.state != "heard").values(**values))
    work.memo.pop(("note", note_id), None)


def not_heard_yet(work: Work, note_id: int) -> None:
    """A note that was given up as broken waits to be heard, as one that was kept for want of a model."""
    broken = update(NoteRow).where(NoteRow.id == note_id, NoteRow.state == "broken")
    work.session.execute(broken.values(state="no_model"))


def move_evidence(work: Work, visit: int, photo_ids: Collection[int], note_ids: Collection[int]) -> None:
    """Let photos and notes belong to another visit."""
    work.run(update(_PHOTO).where(_PHOTO.c.id.in_(list(photo_ids))).values(visit=visit))
    work.run(update(_NOTE).where(_NOTE.c.id.in_(list(note_ids))).values(visit=visit))
    work.forget()


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


def _place(row: Any) -> Place:
    return Place(
        point=Point(row.lat, row.lon),
        kind=_KINDS[row.kind],
        at=row.at,
        raw=Point(row.raw_lat, row.raw_lon),
        datum="gcj02" if row.datum == "gcj02" else "wgs84",
        accuracy_m=row.accuracy_m,
        fixed_at=row.fixed_at,
        id=row.id,
    )


def _photo(row: Any) -> Photo:
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


def _note(row: Any) -> Note:
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
