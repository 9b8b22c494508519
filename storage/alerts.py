"""Alerts made for managers, and how far each recurring push has been dealt with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import bindparam, exists, select, update

from rules.anomalies import Anomaly, Finding
from storage.database import INSERTS, Work, insert
from storage.tables.columns import plain
from storage.tables.managers import AlertRow, OccurrenceRow, ScheduleRow

_ALERT = plain(AlertRow)
_ONE = select(_ALERT).where(_ALERT.c.id == bindparam("row_id"))
_OF_DAY = (
    select(_ALERT)
    .where(_ALERT.c.manager == bindparam("who"), _ALERT.c.local_day == bindparam("day"))
    .order_by(_ALERT.c.id)
)
_ADD = {name: sql(_ALERT).on_conflict_do_nothing().returning(_ALERT.c.id) for name, sql in INSERTS.items()}

MADE, LATE = "made", "late"  # what became of an occurrence


@dataclass(frozen=True, slots=True)
class Alert:
    manager: str
    local_day: date
    made_at: datetime
    findings: tuple[Finding, ...]
    id: int = 0


def add(work: Work, manager: str, day: date, now: datetime, findings: Sequence[Finding]) -> int | None:
    """Keep one manager's alert of one day; None when it was made before."""
    kept = [[item.rule.value, item.district, list(item.reps), item.days, list(item.visits)] for item in findings]
    added = work.run(_ADD[work.dialect], manager=manager, kind="daily", local_day=day, made_at=now, findings=kept)
    number: int | None = added.scalar_one_or_none()
    return number


def load(work: Work, alert_id: int) -> Alert | None:
    row = work.run(_ONE, row_id=alert_id).one_or_none()
    return None if row is None else _alert(row)


def of_day(work: Work, manager: str, day: date) -> list[Alert]:
    return [_alert(row) for row in work.run(_OF_DAY, who=manager, day=day)]


def visits_told_of(work: Work, rule: Anomaly, first: date, end: date) -> set[int]:
    """Which visits a finding of this rule named in any alert from the first day on, without the last."""
    rows = work.run(select(_ALERT.c.findings).where(_ALERT.c.local_day >= first, _ALERT.c.local_day < end))
    return {visit for found in rows.scalars() for name, *_, visits in found if name == rule.value for visit in visits}


@dataclass(frozen=True, slots=True)
class Missed:
    """A push that was found due so late that it was not made any more."""

    schedule: str
    due_at: datetime
    found_at: datetime


def missed(work: Work, since: datetime) -> list[Missed]:
    """What fell due since then and was left out as too late, oldest first."""
    rows = work.session.scalars(
        select(OccurrenceRow)
        .where(OccurrenceRow.outcome == LATE, OccurrenceRow.due_at >= since)
        .order_by(OccurrenceRow.due_at, OccurrenceRow.schedule)
    )
    return [Missed(row.schedule, row.due_at, row.made_at) for row in rows]


def last_due(work: Work, schedule: str, now: datetime) -> datetime:
    """How far a schedule was dealt with; one seen for the first time counts from `now`.

    A first start with a clock that was ahead counts from when it was put right: what falls due until then must not be
    passed over. Where an occurrence says that a later moment was dealt with, it was.
    """
    first = insert(work, ScheduleRow).values(name=schedule, last_due=now).on_conflict_do_nothing()
    work.session.execute(first)
    dealt_with = exists().where(OccurrenceRow.schedule == schedule, OccurrenceRow.due_at >= ScheduleRow.last_due)
    ahead = update(ScheduleRow).where(ScheduleRow.name == schedule, ScheduleRow.last_due > now, ~dealt_with)
    work.session.execute(ahead.values(last_due=now).execution_options(synchronize_session=False))
    return work.session.get_one(ScheduleRow, schedule).last_due


def dealt_with(work: Work) -> dict[str, datetime]:
    """How far each schedule was dealt with that was ever looked at."""
    return {row.name: row.last_due for row in work.session.scalars(select(ScheduleRow))}


def occurred(work: Work, schedule: str, day: date, due_at: datetime, outcome: str, now: datetime) -> bool:
    """Note one due moment and advance the schedule. False when another process was first."""
    fresh = work.session.execute(
        insert(work, OccurrenceRow)
        .values(schedule=schedule, local_day=day, due_at=due_at, outcome=outcome, made_at=now)
        .on_conflict_do_nothing()
        .returning(OccurrenceRow.schedule)
    ).scalar_one_or_none()
    work.session.execute(
        update(ScheduleRow).where(ScheduleRow.name == schedule, ScheduleRow.last_due < due_at).values(last_due=due_at)
    )
    return fresh is not None


def _alert(row: Any) -> Alert:
    return Alert(
        manager=row.manager,
        local_day=row.local_day,
        made_at=row.made_at,
        findings=tuple(
            Finding(Anomaly(rule), district, tuple(reps), days, tuple(visits))
            for rule, district, reps, days, visits in row.findings
        ),
        id=row.id,
    )
