"""Jobs as a table of ours, for SQLite. One process runs them, so a row found running at start lost its process."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, exists, func, or_, select, update

from storage.database import Work
from storage.jobs import MAX_TRIES, Job, pause
from storage.tables import JobRow


def put(work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None) -> int:
    row = JobRow(task=task, args=args, lock=lock, state="ready", run_at=now, tries=0, error="")
    work.session.add(row)
    work.session.flush()
    return row.id


def enlist(work: Work) -> None:
    return None


def beat(work: Work, worker: int | None) -> None:
    pass


def claim(work: Work, now: datetime, worker: int | None) -> Job | None:
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
    return _job(row)


def still_ours(work: Work, job: Job) -> bool:
    return True


def finished(work: Work, job: Job) -> None:
    row = work.session.get(JobRow, job.id)
    if row is not None:
        work.session.delete(row)


def failed(work: Work, job: Job, now: datetime, error: str) -> bool:
    dead = job.tries >= MAX_TRIES
    work.session.execute(
        update(JobRow)
        .where(JobRow.id == job.id)
        .values(
            state="dead" if dead else "ready",
            run_at=now + timedelta(seconds=pause(job.tries)),
            error=error[:500],
        )
    )
    return dead


def recover(work: Work, silent: float) -> list[Job]:
    spent = JobRow.tries >= MAX_TRIES
    found = work.session.scalars(
        update(JobRow)
        .where(JobRow.state == "running")
        .values(state=case((spent, "dead"), else_="ready"), error=case((spent, "the process died"), else_=JobRow.error))
        .returning(JobRow)
    )
    return [_job(row) for row in found if row.state == "dead"]


def counts(work: Work) -> dict[str, int]:
    rows = work.session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
    return {state: count for state, count in rows}


def _job(row: JobRow) -> Job:
    return Job(task=row.task, args=row.args, lock=row.lock, tries=row.tries, id=row.id)
