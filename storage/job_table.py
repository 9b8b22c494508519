"""Jobs as a table of ours, for SQLite. One process runs them, so a row found running at start lost its process."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, delete, exists, func, insert, or_, select, update

from storage.database import Work, insert_one
from storage.jobs import MAX_TRIES, Dead, Depth, Job, Kept, pause
from storage.tables.columns import plain
from storage.tables.work import JobRow

_JOB = plain(JobRow)
_EARLIER = _JOB.alias("earlier")
_HELD = exists().where(
    _EARLIER.c.lock == _JOB.c.lock, _EARLIER.c.state.in_(["ready", "running"]), _EARLIER.c.id < _JOB.c.id
)
_NEXT = (
    select(_JOB.c.id)
    .where(_JOB.c.state == "ready", _JOB.c.run_at <= bindparam("at"), or_(_JOB.c.lock.is_(None), ~_HELD))
    .order_by(_JOB.c.id)
    .limit(1)
)
_CLAIM = (
    update(_JOB).where(_JOB.c.id == bindparam("row_id")).values(state="running", tries=_JOB.c.tries + 1).returning(_JOB)
)
_PUT = insert(_JOB)
_DEPTHS = (
    select(_JOB.c.task, _JOB.c.state, func.count().label("jobs"), func.min(_JOB.c.run_at).label("since"))
    .where(_JOB.c.state != "dropped")
    .group_by(_JOB.c.task, _JOB.c.state)
)


def put(work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None) -> int:
    return insert_one(work, _PUT, task=task, args=args, lock=lock, state="ready", run_at=now, tries=0, error="")


def enlist(work: Work) -> None:
    return None


def beat(work: Work, worker: int | None) -> None:
    pass


def claim(work: Work, now: datetime, worker: int | None) -> Job | None:
    row = work.run(_NEXT, at=now).one_or_none()
    return None if row is None else _job(work.run(_CLAIM, row_id=row.id).one())


def still_ours(work: Work, job: Job) -> bool:
    return True


def finished(work: Work, job: Job) -> None:
    work.run(delete(_JOB).where(_JOB.c.id == job.id))


def failed(work: Work, job: Job, now: datetime, error: str) -> bool:
    dead = job.tries >= MAX_TRIES
    work.run(
        update(_JOB)
        .where(_JOB.c.id == job.id)
        .values(
            state="dead" if dead else "ready",
            run_at=now + timedelta(seconds=pause(job.tries)),
            error=error[:500],
        )
    )
    return dead


def recover(work: Work, silent: float) -> list[Job]:
    spent = _JOB.c.tries >= MAX_TRIES
    found = work.run(
        update(_JOB)
        .where(_JOB.c.state == "running")
        .values(state=case((spent, "dead"), else_="ready"), error=case((spent, "the process died"), else_=_JOB.c.error))
        .returning(_JOB)
    )
    return [_job(row) for row in found if row.state == "dead"]


def counts(work: Work) -> dict[str, int]:
    rows = work.run(select(_JOB.c.state, func.count().label("jobs")).group_by(_JOB.c.state))
    return {row.state: row.jobs for row in rows}


def depths(work: Work) -> list[Depth]:
    return [Depth(row.task, row.state, row.jobs, row.since) for row in work.run(_DEPTHS)]


def dead(work: Work) -> list[Dead]:
    rows = work.run(select(_JOB).where(_JOB.c.state == "dead").order_by(_JOB.c.id))
    return [Dead(row.id, row.task, row.args, row.lock, row.run_at, row.tries, row.error) for row in rows]


def again(work: Work, job_id: int, now: datetime) -> bool:
    return _changed(work, job_id, state="ready", tries=0, run_at=now)


def drop(work: Work, job_id: int, reason: str) -> bool:
    return _changed(work, job_id, state="dropped", error=func.substr(reason + " | " + _JOB.c.error, 1, 2000))


def every(work: Work) -> list[Kept]:
    rows = work.run(select(_JOB).order_by(_JOB.c.id))
    return [Kept(row.id, row.task, row.args, row.lock, row.state, row.run_at, row.tries, row.error) for row in rows]


def bring(work: Work, kept: Sequence[Kept]) -> None:
    work.run_each(insert(_JOB), [asdict(one) for one in kept])


def oldest_due(work: Work, now: datetime) -> datetime | None:
    due = select(func.min(_JOB.c.run_at)).where(_JOB.c.state == "ready", _JOB.c.run_at <= now)
    found: datetime | None = work.run(due).scalar_one()
    return found


def stuck(work: Work, silent: float) -> int:
    return 0  # the one process that could have them looks after them when it starts


def _changed(work: Work, job_id: int, **values: Any) -> bool:
    """Change a dead job; False where there is none of that number."""
    changed = update(_JOB).where(_JOB.c.id == job_id, _JOB.c.state == "dead").values(**values).returning(_JOB.c.id)
    return work.run(changed).one_or_none() is not None


def _job(row: Any) -> Job:
    return Job(task=row.task, args=row.args, lock=row.lock, tries=row.tries, id=row.id)
