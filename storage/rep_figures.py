"""Figures of reps for the daily rules. The caller has chosen the reps by its scope already."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from rules.evidence import Level
from rules.visit import State, Visit
from storage import visits
from storage.database import Work
from storage.many import among
from storage.tables.columns import plain
from storage.tables.firm import EmployeeRow, OutletRow
from storage.tables.people import AccountRow
from storage.tables.visits import PhotoRow, VisitRow

_VISIT, _PHOTO = plain(VisitRow), plain(PhotoRow)


@dataclass(frozen=True, slots=True)
class VisitFacts:
    """What the daily rules want to know of one visit, without reading all of it. `lasted`: see rules.visit.duration."""

    id: int
    rep: str
    closed: bool
    level: Level | None
    lasted: timedelta


def visits_of_reps(work: Work, reps: Collection[str], day: date, after: datetime | None = None) -> list[VisitFacts]:
    """Their visits of a local day in the order they were opened, what was undone left out; with `after` those alone
    that were closed later than that, or opened, where they are open still.
    """
    v = _VISIT.c
    query = (
        select(v.id, v.rep, v.state, v.grade, v.opened_at, v.left_at)
        .where(among(work, v.rep, reps), v.local_day == day, v.state != State.VOID.value)
        .order_by(v.opened_at, v.id)
    )
    if after is not None:
        query = query.where(func.coalesce(v.closed_at, v.opened_at) > after)
    rows: list[Any] = list(work.run(query))
    return [
        VisitFacts(number, rep, state == State.CLOSED.value, Level(grade) if grade else None, _lasted(opened, left))
        for number, rep, state, grade, opened, left in rows
    ]


def _lasted(opened: datetime, left: datetime | None) -> timedelta:
    return timedelta(0) if left is None else max(timedelta(0), left - opened)


def visits_with_a_used_photo(work: Work, reps: Collection[str], day: date) -> list[Visit]:
    """Those of a local day that hold at least one photo of an earlier visit, whole, in the order they were opened."""
    used = select(_PHOTO.c.visit).where(_PHOTO.c.same_as.is_not(None), _PHOTO.c.visit.is_not(None))
    rows = work.run(
        select(_VISIT)
        .where(_VISIT.c.local_day == day, _VISIT.c.state != State.VOID.value, _VISIT.c.id.in_(used))
        .where(among(work, _VISIT.c.rep, reps))
        .order_by(_VISIT.c.opened_at, _VISIT.c.id)
    )
    return [visits.visit_of(row) for row in rows]


def first_days(work: Work, reps: Collection[str], zone: ZoneInfo) -> dict[str, date]:
    """The local day each rep first had an account or a visit; a rep with neither is absent."""
    person, account = plain(EmployeeRow), plain(AccountRow)
    linked = select(func.min(account.c.linked_at)).where(account.c.employee == person.c.code).scalar_subquery()
    # One look into the index for each rep, where grouping would walk through every visit there ever was.
    visited = select(func.min(_VISIT.c.local_day)).where(_VISIT.c.rep == person.c.code).scalar_subquery()
    query = select(person.c.code, linked, visited).where(among(work, person.c.code, reps))
    rows: list[Any] = list(work.run(query))
    days: dict[str, date] = {}
    for rep, at, day in rows:
        known = [first for first in (at.astimezone(zone).date() if at else None, day) if first is not None]
        if known:
            days[rep] = min(known)
    return days


def new_outlet_counts(work: Work, reps: Collection[str], first: date, last: date) -> dict[str, dict[date, int]]:
    """How many outlets each rep registered in chat on each local day."""
    outlet = plain(OutletRow).c
    query = (
        select(outlet.rep, outlet.first_contact_on, func.count())
        .where(
            outlet.created_by_visit.is_not(None),
            among(work, outlet.rep, reps),
            outlet.first_contact_on.between(first, last),
        )
        .group_by(outlet.rep, outlet.first_contact_on)
    )
    rows: list[Any] = list(work.run(query))
    counts: dict[str, dict[date, int]] = {}
    for rep, day, count in rows:
        if day is not None:
            counts.setdefault(str(rep), {})[day] = count
    return counts
