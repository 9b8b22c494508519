"""待办 rows."""

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import select, update

from rules.follow_up import FollowUp, TodoState
from rules.windows import Window
from storage.database import Work
from storage.tables import FollowUpRow


def add(work: Work, todo: FollowUp) -> int:
    row = FollowUpRow()
    _fill(row, todo)
    work.session.add(row)
    work.session.flush()
    return row.id


def save(work: Work, todo: FollowUp) -> None:
    _fill(work.session.get_one(FollowUpRow, todo.id), todo)
    work.session.flush()


def load(work: Work, todo_id: int) -> FollowUp | None:
    row = work.session.get(FollowUpRow, todo_id)
    return None if row is None else _follow_up(row)


def to_remind(work: Work, now: datetime, *, take: bool = False) -> list[FollowUp]:
    """What is due. With `take` it is kept from others until the transaction ends; what somebody else is changing right
    now is left to the next time.
    """
    query = (
        select(FollowUpRow)
        .where(
            FollowUpRow.state == TodoState.OPEN.value,
            FollowUpRow.reminded_at.is_(None),
            FollowUpRow.remind_at <= now,
        )
        .order_by(FollowUpRow.remind_at, FollowUpRow.id)
    )
    rows = work.session.scalars(query.with_for_update(skip_locked=True) if take else query)
    return [_follow_up(row) for row in rows]


def open_of(work: Work, rep: str) -> list[FollowUp]:
    rows = work.session.scalars(
        select(FollowUpRow)
        .where(FollowUpRow.rep == rep, FollowUpRow.state == TodoState.OPEN.value)
        .order_by(FollowUpRow.last, FollowUpRow.id)
    )
    return [_follow_up(row) for row in rows]


def open_at(work: Work, outlet: str) -> list[FollowUp]:
    rows = work.session.scalars(
        select(FollowUpRow)
        .where(FollowUpRow.outlet == outlet, FollowUpRow.state == TodoState.OPEN.value)
        .order_by(FollowUpRow.last, FollowUpRow.id)
    )
    return [_follow_up(row) for row in rows]


def of_visit(work: Work, visit: int) -> list[FollowUp]:
    rows = work.session.scalars(select(FollowUpRow).where(FollowUpRow.visit == visit).order_by(FollowUpRow.id))
    return [_follow_up(row) for row in rows]


def void_of_visit(work: Work, visit: int, now: datetime) -> int:
    """Take back the open 待办 of a visit that was undone; how many."""
    taken = work.session.execute(
        update(FollowUpRow)
        .where(FollowUpRow.visit == visit, FollowUpRow.state == TodoState.OPEN.value)
        .values(state=TodoState.VOID.value, ended_at=now)
        .returning(FollowUpRow.id)
    )
    return len(taken.all())


def overdue_counts(work: Work, reps: Collection[str], today: date) -> dict[str, int]:
    rows = work.session.scalars(
        select(FollowUpRow.rep).where(
            FollowUpRow.rep.in_(list(reps)), FollowUpRow.state == TodoState.OPEN.value, FollowUpRow.last < today
        )
    )
    counts: dict[str, int] = {}
    for rep in rows:
        counts[rep] = counts.get(rep, 0) + 1
    return counts


def _fill(row: FollowUpRow, todo: FollowUp) -> None:
    row.rep, row.outlet, row.visit = todo.rep, todo.outlet, todo.visit
    row.first, row.last, row.time, row.quote = (
        todo.window.first,
        todo.window.last,
        todo.window.time,
        todo.window.quote,
    )
    row.what, row.state = todo.what, todo.state.value
    row.remind_at, row.reminded_at = todo.remind_at, todo.reminded_at
    row.made_by_itself, row.ended_at, row.postponed = todo.made_by_itself, todo.ended_at, todo.postponed


def _follow_up(row: FollowUpRow) -> FollowUp:
    return FollowUp(
        rep=row.rep,
        outlet=row.outlet,
        visit=row.visit,
        window=Window(row.first, row.last, row.time, row.quote),
        remind_at=row.remind_at,
        what=row.what,
        state=TodoState(row.state),
        made_by_itself=row.made_by_itself,
        reminded_at=row.reminded_at,
        ended_at=row.ended_at,
        postponed=row.postponed,
        id=row.id,
    )
