"""Slow work as rows of the same database: put in the transaction that asks for it, run at least once, in order of a
lock, set aside after five tries. On SQLite one process runs them, so a row found running at start lost its process.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, exists, func, or_, select, update

from storage.database import Work
from storage.tables import JobRow

MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class Job:
    task: str
    args: dict[str, Any]
    lock: str | None
    tries: int
    id: int


def put(work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None = None) -> int:
    """Ask for work. Jobs of one lock run strictly one after another, in the order they were put."""
    row = JobRow(task=task, args=args, lock=lock, state="ready", run_at=now, tries=0, error="")
    work.session.add(row)
    work.session.flush()
    return row.id


def claim(work: Work, now: datetime) -> Job | None:
    """Take the next job that is due. The try is counted here, so that one which kills its worker is counted too."""
    earlier = JobRow.__table__.alias()
    held = exists().where(
        earlier.c.lock == JobRow.lock, earlier.c.state.in_(["ready", "running"]), earlier.c.id < JobRow.id
    )
    row = work.session.scalar(
        select(JobRow)
        .where(JobRow.state == "ready", JobRow.run_at <= now, or_(JobRow.lock.is_(None), ~held))
        .order_by(JobRow.id)
        .limit(1)
    )
    if row is None:
        return None
    row.state = "running"
    row.tries += 1
    work.session.flush()
    return Job(task=row.task, args=row.args, lock=row.lock, tries=row.tries, id=row.id)


def finished(work: Work, job_id: int) -> None:
    row = work.session.get(JobRow, job_id)
    if row is not None:
        work.session.delete(row)


def failed(work: Work, job: Job, now: datetime, error: str) -> bool:
    """Put back after a growing pause (1 s, 4 s, 16 s …). True when it was the last try and the job is set aside."""
    dead = job.tries >= MAX_TRIES
    work.session.execute(
        update(JobRow)
        .where(JobRow.id == job.id)
        .values(
            state="dead" if dead else "ready",
            run_at=now + timedelta(seconds=min(3600, 4 ** (job.tries - 1))),
            error=error[:500],
        )
    )
    return dead


def recover(work: Work) -> int:
    """At start: give back what a dead process left running; set aside what died five times. How many were found."""
    spent = JobRow.tries >= MAX_TRIES
    found = work.session.execute(
        update(JobRow)
        .where(JobRow.state == "running")
        .values(state=case((spent, "dead"), else_="ready"), error=case((spent, "the process died"), else_=JobRow.error))
        .returning(JobRow.id)
    )
    return len(found.all())


def counts(work: Work) -> dict[str, int]:
    rows = work.session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
    return {state: count for state, count in rows}
