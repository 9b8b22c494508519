"""The check-ins of a whole day with all that their grades rest on, read in a few statements however many they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice

from sqlalchemy import bindparam, select

from rules.evidence import Photo, Place, PlaceKind
from rules.places import Point
from rules.visit import State, Visit
from storage import evidence, firm, visits
from storage.database import Work
from storage.many import one_of
from storage.tables.columns import plain
from storage.tables.firm import EmployeeRow
from storage.tables.visits import VisitRow
from storage.visits import visit_of

_VISIT = plain(VisitRow)
_TELLS_NOTHING = (PlaceKind.FORWARDED, PlaceKind.VENUE)
_AT_A_TIME = 250  # reps
_STANDS = _VISIT.c.state != State.VOID.value
_REPS_OF = (
    select(_VISIT.c.rep).where(_VISIT.c.local_day == bindparam("day")).group_by(_VISIT.c.rep).order_by(_VISIT.c.rep)
)
_OF_REPS = (
    select(_VISIT)
    .where(one_of(_VISIT.c.rep, "reps"), _VISIT.c.local_day == bindparam("day"), _STANDS)
    .order_by(_VISIT.c.rep, _VISIT.c.opened_at, _VISIT.c.id)
)
_PERSON, _OTHER = plain(EmployeeRow), _VISIT.alias()
_LATEST = (
    select(_OTHER.c.id)
    .where(_OTHER.c.rep == _PERSON.c.code, _OTHER.c.local_day < bindparam("day"), _OTHER.c.state != State.VOID.value)
    .order_by(_OTHER.c.opened_at.desc(), _OTHER.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_LAST_BEFORE = select(_LATEST).where(one_of(_PERSON.c.code, "reps"))


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A visit, where the rep was, where the outlet is, the photos, and where the rep's visit before it was."""

    visit: Visit
    place: Place
    outlet: Point | None
    photos: tuple[Photo, ...]
    before: Place | None


def closed_on(work: Work, day: date) -> Iterator[CheckIn]:
    """Every closed visit of a local day that has a place, a rep after another and each in the order they were opened.
    Read a part at a time, so that a day of any size fits into memory.
    """
    reps = iter([rep for (rep,) in work.run(_REPS_OF, day=day)])
    while some := list(islice(reps, _AT_A_TIME)):
        yield from _of_reps(work, some, day)
        work.forget()


def _of_reps(work: Work, reps: Sequence[str], day: date) -> Iterator[CheckIn]:
    today = [visit_of(row) for row in work.run(_OF_REPS, reps=reps, day=day)]
    earlier = _last_before(work, reps, day)
    every = [*today, *earlier.values()]
    places = evidence.places(work, {number for visit in every if (number := _place_id(visit)) is not None})
    photos = evidence.photos(work, {photo for visit in today for photo in visit.ids("photo")})
    outlets = firm.outlets_by_code(work, {visit.outlet for visit in today if visit.outlet})
    before = {rep: told for rep, visit in earlier.items() if (told := _tells(visit, places)) is not None}
    for visit in today:
        place = places.get(_place_id(visit) or 0)
        if place is not None and visit.state is State.CLOSED:
            outlet = outlets.get(visit.outlet or "")
            own = tuple(photos[key] for key in visit.ids("photo") if key in photos)
            yield CheckIn(visit, place, outlet.point if outlet else None, own, before.get(visit.rep))
        here = _tells(visit, places)
        if here is not None:
            before[visit.rep] = here


def _last_before(work: Work, reps: Sequence[str], day: date) -> dict[str, Visit]:
    """The latest visit of each rep before a day: one look into the index for each."""
    found = [number for (number,) in work.run(_LAST_BEFORE, reps=reps, day=day) if number]
    return {visit.rep: visit for visit in visits.by_ids(work, found).values()}


def _place_id(visit: Visit) -> int | None:
    value = visit.value("place")
    return value if isinstance(value, int) else None


def _tells(visit: Visit, places: dict[int, Place]) -> Place | None:
    """Where a visit was; one forwarded or picked from a list tells nothing."""
    place = places.get(_place_id(visit) or 0)
    return place if place is not None and place.kind not in _TELLS_NOTHING else None
