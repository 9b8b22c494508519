"""Figures of reps for the daily rules. The caller has chosen the reps by its scope already."""

from collections.abc import Collection
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from rules.visit import State, Visit
from storage import visits
from storage.database import Work
from storage.tables import AccountRow, OutletRow, VisitRow


def visits_of_reps(work: Work, reps: Collection[str], day: date) -> list[Visit]:
    """Their visits of a local day, what was undone left out."""
    rows = work.session.scalars(
        select(VisitRow)
        .where(VisitRow.rep.in_(list(reps)), VisitRow.local_day == day, VisitRow.state != State.VOID.value)
        .order_by(VisitRow.opened_at, VisitRow.id)
    )
    return [visits.visit_of(row) for row in rows]


def first_days(work: Work, reps: Collection[str], zone: ZoneInfo) -> dict[str, date]:
    """The local day each rep first had an account or a visit; a rep with neither is absent."""
    linked = work.session.execute(
        select(AccountRow.employee, func.min(AccountRow.linked_at))
        .where(AccountRow.employee.in_(list(reps)))
        .group_by(AccountRow.employee)
    )
    days = {employee: at.astimezone(zone).date() for employee, at in linked}
    visited = work.session.execute(
        select(VisitRow.rep, func.min(VisitRow.local_day)).where(VisitRow.rep.in_(list(reps))).group_by(VisitRow.rep)
    )
    for rep, day in visited:
        days[rep] = min(day, days.get(rep, day))
    return days


def new_outlet_counts(work: Work, reps: Collection[str], first: date, last: date) -> dict[str, dict[date, int]]:
    """How many outlets each rep registered in chat on each local day."""
    rows = work.session.execute(
        select(OutletRow.rep, OutletRow.first_contact_on, func.count())
        .where(
            OutletRow.created_by_visit.is_not(None),
            OutletRow.rep.in_(list(reps)),
            OutletRow.first_contact_on.between(first, last),
        )
        .group_by(OutletRow.rep, OutletRow.first_contact_on)
    )
    counts: dict[str, dict[date, int]] = {}
    for rep, day, count in rows:
        if day is not None:
            counts.setdefault(str(rep), {})[day] = count
    return counts
