"""待办 rows."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from rules.follow_up import FollowUp, TodoState
from rules.windows import Window
from storage.database import Work, insert_one
from storage.many import among
from storage.tables.columns import plain
from storage.tables.visits import FollowUpRow

_TODO = plain(FollowUpRow)
_ADD = insert(_TODO)
_SAVE = update(_TODO).where(_TODO.c.id == bindparam("row_id"))
_ONE = select(_TODO).where(_TODO.c.id == bindparam("row_id"))
_OPEN = select(_TODO).where(_TODO.c.state == TodoState.OPEN.value).order_by(_TODO.c.last, _TODO.c.id)
_OPEN_OF = _OPEN.where(_TODO.c.rep == bindparam("who"))
_OPEN_AT = _OPEN.where(_TODO.c.outlet == bindparam("where"))


def add(work: Work, todo: FollowUp) -> int:
    return insert_one(work, _ADD, **_columns(todo))


def save(work: Work, todo: FollowUp) -> None:
    work.run(_SAVE, row_id=todo.id, **_columns(todo))


def load(work: Work, todo_id: int) -> FollowUp | None:
    row = work.run(_ONE, row_id=todo_id).one_or_none()
    return None if row is None else _follow_up(row)


def to_remind(
    work: Work, now: datetime, *, since: datetime | None = None, most: int | None = None, take: bool = False
) -> list[FollowUp]:
    """What is due (from `since` on), at most so many, the oldest first. With `take` it is kept from others until the
    transaction ends; what somebody else is changing right now is left to the next time.
    """
    query = (
        select(_TODO)
        .where(_TODO.c.state == TodoState.OPEN.value, _TODO.c.reminded_at.is_(None), _TODO.c.remind_at <= now)
        .order_by(_TODO.c.remind_at, _TODO.c.id)
        .limit(most)
    )
    if since is not None:
        query = query.where(_TODO.c.remind_at >= since)
    rows = work.run(query.with_for_update(skip_locked=True) if take else query)
    return [_follow_up(row) for row in rows]


def reminded(work: Work, todos: Collection[int], now: datetime) -> None:
    """Note that the reminders of these were queued."""
    work.run(update(_TODO).where(among(work, _TODO.c.id, todos)).values(reminded_at=now))


def open_of(work: Work, rep: str) -> list[FollowUp]:
    return [_follow_up(row) for row in work.run(_OPEN_OF, who=rep)]


def open_at(work: Work, outlet: str) -> list[FollowUp]:
    return [_follow_up(row) for row in work.run(_OPEN_AT, where=outlet)]


def of_visit(work: Work, visit: int) -> list[FollowUp]:
    rows = work.run(select(_TODO).where(_TODO.c.visit == visit).order_by(_TODO.c.id))
    return [_follow_up(row) for row in rows]


def void_of_visit(work: Work, visit: int, now: datetime) -> int:
    """Take back the open 待办 of a visit that was undone; how many."""
    taken = work.run(
        update(_TODO)
        .where(_TODO.c.visit == visit, _TODO.c.state == TodoState.OPEN.value)
        .values(state=TodoState.VOID.value, ended_at=now)
        .returning(_TODO.c.id)
    )
    return len(taken.all())


def overdue_counts(work: Work, reps: Collection[str], today: date) -> dict[str, int]:
    """How many open 待办 of each rep are past their last day; a rep without any is absent."""
    query = (
        select(_TODO.c.rep, func.count())
        .where(among(work, _TODO.c.rep, reps), _TODO.c.state == TodoState.OPEN.value, _TODO.c.last < today)
        .group_by(_TODO.c.rep)
    )
    rows: list[Any] = list(work.run(query))
    return {str(rep): int(count) for rep, count in rows}


def _columns(todo: FollowUp) -> dict[str, Any]:
    return {
        "rep": todo.rep,
        "outlet": todo.outlet,
        "visit": todo.visit,
        "first": todo.window.first,
        "last": todo.window.last,
        "time": todo.window.time,
        "quote": todo.window.quote,
        "what": todo.what,
        "state": todo.state.value,
        "remind_at": todo.remind_at,
        "reminded_at": todo.reminded_at,
        "made_by_itself": todo.made_by_itself,
        "ended_at": todo.ended_at,
        "postponed": todo.postponed,
    }


def _follow_up(row: Any) -> FollowUp:
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
