"""Visits, with every change kept beside them."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from rules.evidence import Grade, Level, Reason
from rules.visit import Answer, Source, State, Trace, Visit
from storage.database import Work
from storage.tables import VisitChangeRow, VisitRow


def load(work: Work, visit_id: int) -> Visit | None:
    row = work.session.get(VisitRow, visit_id)
    return None if row is None else visit_of(row)


def open_visits(work: Work, rep: str) -> list[Visit]:
    rows = work.session.scalars(
        select(VisitRow).where(VisitRow.rep == rep, VisitRow.state == State.OPEN.value).order_by(VisitRow.id)
    )
    return [visit_of(row) for row in rows]


def of_rep_on(work: Work, rep: str, day: date) -> list[Visit]:
    rows = work.session.scalars(
        select(VisitRow)
        .where(VisitRow.rep == rep, VisitRow.local_day == day, VisitRow.state != State.VOID.value)
        .order_by(VisitRow.opened_at, VisitRow.id)
    )
    return [visit_of(row) for row in rows]


def last_closed(work: Work, rep: str, limit: int) -> list[Visit]:
    """The rep's latest closed visits, newest first."""
    rows = work.session.scalars(
        select(VisitRow)
        .where(VisitRow.rep == rep, VisitRow.state == State.CLOSED.value)
        .order_by(VisitRow.opened_at.desc(), VisitRow.id.desc())
        .limit(limit)
    )
    return [visit_of(row) for row in rows]


def last_at_outlet(work: Work, outlet: str, limit: int = 5) -> list[Visit]:
    rows = work.session.scalars(
        select(VisitRow)
        .where(VisitRow.outlet == outlet, VisitRow.state == State.CLOSED.value)
        .order_by(VisitRow.opened_at.desc(), VisitRow.id.desc())
        .limit(limit)
    )
    return [visit_of(row) for row in rows]


def by_ids(work: Work, ids: Collection[int]) -> dict[int, Visit]:
    rows = work.session.scalars(select(VisitRow).where(VisitRow.id.in_(list(ids))).order_by(VisitRow.id))
    return {row.id: visit_of(row) for row in rows}


def uses_outlet(work: Work, outlet: str) -> bool:
    return work.session.scalar(select(VisitRow.id).where(VisitRow.outlet == outlet).limit(1)) is not None


def add(work: Work, visit: Visit, zone: str) -> int:
    row = VisitRow(local_day=visit.opened_at.astimezone(ZoneInfo(zone)).date())
    _fill(row, visit)
    work.session.add(row)
    work.session.flush()
    return row.id


def save(work: Work, visit: Visit) -> None:
    _fill(work.session.get_one(VisitRow, visit.id), visit)
    work.session.flush()


def keep_change(
    work: Work, before: Visit | None, after: Visit, at: datetime, account: int | None, inbox: int | None
) -> int:
    """Remember what one message changed; the number of the change."""
    row = VisitChangeRow(
        visit=after.id,
        account=account,
        inbox=inbox,
        at=at,
        before=None if before is None else to_plain(before),
        after=to_plain(after),
    )
    work.session.add(row)
    work.session.flush()
    return row.id


def last_change(work: Work, account: int, since: datetime) -> tuple[int, int, Visit | None] | None:
    """(change, visit, the visit as it was before or None when the change opened it): the latest not undone."""
    row = work.session.scalar(
        select(VisitChangeRow)
        .where(VisitChangeRow.account == account, VisitChangeRow.undone_at.is_(None), VisitChangeRow.at >= since)
        .order_by(VisitChangeRow.id.desc())
        .limit(1)
    )
    if row is None:
        return None
    return row.id, row.visit, None if row.before is None else from_plain(row.before)


def mark_undone(work: Work, change: int, now: datetime) -> None:
    work.session.execute(update(VisitChangeRow).where(VisitChangeRow.id == change).values(undone_at=now))


def history(work: Work, visit_id: int) -> list[tuple[datetime, Visit | None, Visit, bool]]:
    """(when, before, after, undone) of every change of a visit, oldest first."""
    rows = work.session.scalars(
        select(VisitChangeRow).where(VisitChangeRow.visit == visit_id).order_by(VisitChangeRow.id)
    )
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
        state=State(data["state"]),
        opened_at=datetime.fromisoformat(data["opened_at"]),
        touched_at=_time(data["touched_at"]),
        left_at=_time(data["left_at"]),
        closed_at=_time(data["closed_at"]),
        grade=_grade(data["grade"], data["reasons"]),
        answers={name: _as_answer(answer) for name, answer in data["answers"].items()},
        late_entry=data["late_entry"],
    )


def visit_of(row: VisitRow) -> Visit:
    return Visit(
        id=row.id,
        rep=row.rep,
        state=State(row.state),
        opened_at=row.opened_at,
        touched_at=row.touched_at,
        left_at=row.left_at,
        closed_at=row.closed_at,
        grade=_grade(row.grade, row.reasons),
        answers={name: _as_answer(answer) for name, answer in row.answers.items()},
        late_entry=row.late_entry,
    )


def _fill(row: VisitRow, visit: Visit) -> None:
    row.rep = visit.rep
    row.outlet = visit.outlet
    row.state = visit.state.value
    row.outcome = visit.outcome.value if visit.outcome and visit.sure("outcome") else None
    row.opened_at = visit.opened_at
    row.touched_at = visit.touched_at
    row.left_at = visit.left_at
    row.closed_at = visit.closed_at
    row.grade = None if visit.grade is None else visit.grade.level.value
    row.reasons = _reasons(visit.grade)
    row.answers = {name: _answer(answer) for name, answer in visit.answers.items()}
    row.late_entry = visit.late_entry


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


def _as_answer(data: dict[str, Any]) -> Answer:
    return Answer(
        value=data["value"],
        source=Source(data["source"]),
        sure=data["sure"],
        quote=data["quote"],
        confidence=data["confidence"],
        original=data["original"],
        traces=tuple(Trace(*trace) for trace in data.get("traces", ())),  # visits of 0001 have none
    )


def _reasons(grade: Grade | None) -> list[Any]:
    return [] if grade is None else [[reason.code, dict(reason.values)] for reason in grade.reasons]


def _grade(level: str | None, reasons: list[Any]) -> Grade | None:
    if level is None:
        return None
    return Grade(Level(level), tuple(Reason(code, values) for code, values in reasons))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
