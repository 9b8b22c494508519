"""Visits, with every change kept beside them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, insert, select, update

from rules.evidence import Grade, Level, Reason
from rules.people import Errand
from rules.visit import Answer, Source, State, Trace, Visit
from storage.database import Work, insert_one
from storage.many import one_of
from storage.scope import OutOfScope
from storage.tables.columns import plain, spelt_out
from storage.tables.visits import VisitChangeRow, VisitRow

_VISIT, _CHANGE = plain(VisitRow), plain(VisitChangeRow)
_ONE = select(_VISIT).where(_VISIT.c.id == bindparam("row_id"))
_OPEN = (
    select(_VISIT)
    .where(_VISIT.c.rep == bindparam("who"), spelt_out(_VISIT.c.state, State.OPEN.value))
    .order_by(_VISIT.c.id)
)
_NEWEST = select(_VISIT).order_by(_VISIT.c.opened_at.desc(), _VISIT.c.id.desc()).limit(bindparam("most"))
_LATEST = _NEWEST.where(_VISIT.c.rep == bindparam("who"), _VISIT.c.state != State.VOID.value)
_CLOSED = _NEWEST.where(_VISIT.c.rep == bindparam("who"), _VISIT.c.state == State.CLOSED.value)
_AT_OUTLET = _NEWEST.where(_VISIT.c.outlet == bindparam("where"), _VISIT.c.state == State.CLOSED.value)
_ADD = insert(_VISIT)
_SAVE = update(_VISIT).where(_VISIT.c.id == bindparam("row_id")).returning(_VISIT.c.id)
_KEEP_CHANGE = insert(_CHANGE)
_THESE = select(_VISIT).where(one_of(_VISIT.c.id, "ids")).order_by(_VISIT.c.id)
_STATES, _LEVELS = {state.value: state for state in State}, {level.value: level for level in Level}
_SOURCES = {source.value: source for source in Source}


def load(work: Work, visit_id: int) -> Visit | None:
    known: Visit | None = work.memo.get(("visit", visit_id))
    if known is None:
        row = work.run(_ONE, row_id=visit_id).one_or_none()
        known = work.memo["visit", visit_id] = None if row is None else visit_of(row)
    return known


def open_visits(work: Work, rep: str) -> list[Visit]:
    key = ("open visits", rep)
    if key not in work.memo:
        work.memo[key] = [visit_of(row) for row in work.run(_OPEN, who=rep)]
    return list(work.memo[key])


def latest(work: Work, rep: str, limit: int) -> list[Visit]:
    """The rep's own latest visits, open ones too, newest first."""
    return [visit_of(row) for row in work.run(_LATEST, who=rep, most=limit)]


def of_rep_on(work: Work, rep: str, day: date) -> list[Visit]:
    rows = work.run(
        select(_VISIT)
        .where(_VISIT.c.rep == rep, _VISIT.c.local_day == day, _VISIT.c.state != State.VOID.value)
        .order_by(_VISIT.c.opened_at, _VISIT.c.id)
    )
    return [visit_of(row) for row in rows]


def last_closed(work: Work, rep: str, limit: int) -> list[Visit]:
    """The rep's latest closed visits, newest first."""
    return [visit_of(row) for row in work.run(_CLOSED, who=rep, most=limit)]


def last_at_outlet(work: Work, outlet: str, limit: int = 5) -> list[Visit]:
    return [visit_of(row) for row in work.run(_AT_OUTLET, where=outlet, most=limit)]


def by_ids(work: Work, ids: Collection[int]) -> dict[int, Visit]:
    return {row.id: visit_of(row) for row in work.run(_THESE, ids=ids)}


def uses_outlet(work: Work, outlet: str) -> bool:
    """Whether anybody's visit is at this outlet."""
    with work.beyond(Errand.NUMBER):
        return work.session.scalar(select(VisitRow.id).where(VisitRow.outlet == outlet).limit(1)) is not None


def add(work: Work, visit: Visit, zone: str) -> int:
    number = insert_one(work, _ADD, local_day=visit.opened_at.astimezone(ZoneInfo(zone)).date(), **_columns(visit))
    _remember(work, replace(visit, id=number))
    return number


def save(work: Work, visit: Visit) -> None:
    """Raises OutOfScope for a visit that is not there."""
    if work.run(_SAVE, row_id=visit.id, **_columns(visit)).first() is None:
        raise OutOfScope(_VISIT.name)
    _remember(work, visit)


def _remember(work: Work, visit: Visit) -> None:
    work.memo["visit", visit.id] = visit
    work.memo.pop(("open visits", visit.rep), None)


def keep_change(
    work: Work, before: Visit | None, after: Visit, at: datetime, account: int | None, inbox: int | None
) -> int:
    """Remember what one message changed; the number of the change."""
    return insert_one(
        work,
        _KEEP_CHANGE,
        visit=after.id,
        account=account,
        inbox=inbox,
        at=at,
        before=None if before is None else to_plain(before),
        after=to_plain(after),
    )


def last_change(work: Work, account: int, since: datetime) -> tuple[int, int, Visit | None] | None:
    """(change, visit, the visit as it was before or None when the change opened it): the latest not undone."""
    row = work.run(
        select(_CHANGE)
        .where(_CHANGE.c.account == account, _CHANGE.c.undone_at.is_(None), _CHANGE.c.at >= since)
        .order_by(_CHANGE.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return row.id, row.visit, None if row.before is None else from_plain(row.before)


def mark_undone(work: Work, change: int, now: datetime) -> None:
    work.run(update(_CHANGE).where(_CHANGE.c.id == change).values(undone_at=now))


def history(work: Work, visit_id: int) -> list[tuple[datetime, Visit | None, Visit, bool]]:
    """(when, before, after, undone) of every change of a visit, oldest first."""
    rows = work.run(select(_CHANGE).where(_CHANGE.c.visit == visit_id).order_by(_CHANGE.c.id))
    return [
        (
            row.at,
            None if row.before is None else from_plain(row.before),
            from_plain(row.after),
            row.undone_at is not None,
        )
        for row in rows
    ]


def to_plain(visit: Visit) -> dict[str, Any]:
    """The whole visit as JSON data."""
    return {
        "id": visit.id,
        "rep": visit.rep,
        "state": visit.state.value,
        "opened_at": visit.opened_at.isoformat(),
        "touched_at": _iso(visit.touched_at),
        "left_at": _iso(visit.left_at),
        "closed_at": _iso(visit.closed_at),
        "grade": None if visit.grade is None else visit.grade.level.value,
        "reasons": _reasons(visit.grade),
        "answers": {name: _answer(answer) for name, answer in visit.answers.items()},
        "late_entry": visit.late_entry,
    }


def from_plain(data: dict[str, Any]) -> Visit:
    return Visit(
        id=data["id"],
        rep=data["rep"],
        state=_STATES[data["state"]],
        opened_at=datetime.fromisoformat(data["opened_at"]),
        touched_at=_time(data["touched_at"]),
        left_at=_time(data["left_at"]),
        closed_at=_time(data["closed_at"]),
        grade=_grade(data["grade"], data["reasons"]),
        answers=_Answers(data["answers"]),
        late_entry=data["late_entry"],
    )


def visit_of(row: Any) -> Visit:
    """Of a row of the table, in whatever form."""
    return Visit(
        id=row.id,
        rep=row.rep,
        state=_STATES[row.state],
        opened_at=row.opened_at,
        touched_at=row.touched_at,
        left_at=row.left_at,
        closed_at=row.closed_at,
        grade=_grade(row.grade, row.reasons),
        answers=_Answers(row.answers),
        late_entry=row.late_entry,
    )


def _columns(visit: Visit) -> dict[str, Any]:
    return {
        "rep": visit.rep,
        "outlet": visit.outlet,
        "state": visit.state.value,
        "outcome": visit.outcome.value if visit.outcome and visit.sure("outcome") else None,
        "opened_at": visit.opened_at,
        "touched_at": visit.touched_at,
        "left_at": visit.left_at,
        "closed_at": visit.closed_at,
        "grade": None if visit.grade is None else visit.grade.level.value,
        "reasons": _reasons(visit.grade),
        "answers": {name: _answer(answer) for name, answer in visit.answers.items()},
        "late_entry": visit.late_entry,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "value": answer.value,
        "source": answer.source.value,
        "sure": answer.sure,
        "quote": answer.quote,
        "confidence": answer.confidence,
        "original": answer.original,
        "traces": [[trace.rule, trace.quote, trace.confidence] for trace in answer.traces],
    }


class _Answers(Mapping[str, Answer]):
    """The answers of a stored visit, each made when somebody asks for it: most readers want three of a dozen."""

    __slots__ = ("_made", "_stored")

    def __init__(self, stored: dict[str, Any]) -> None:
        self._stored = stored
        self._made: dict[str, Answer] = {}

    def __getitem__(self, name: str) -> Answer:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = _as_answer(self._stored[name])
        return made

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._stored else default

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        return repr(dict(self))


def _as_answer(data: dict[str, Any]) -> Answer:
    traces = data.get("traces")  # visits of 0001 have none
    return Answer(
        value=data["value"],
        source=_SOURCES[data["source"]],
        sure=data["sure"],
        quote=data["quote"],
        confidence=data["confidence"],
        original=data["original"],
        traces=tuple(Trace(*trace) for trace in traces) if traces else (),
    )


def _reasons(grade: Grade | None) -> list[Any]:
    return [] if grade is None else [[reason.code, dict(reason.values)] for reason in grade.reasons]


def _grade(level: str | None, reasons: list[Any]) -> Grade | None:
    if level is None:
        return None
    return Grade(_LEVELS[level], tuple(Reason(code, values) for code, values in reasons))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
