"""Jobs as jobs of Procrastinate, for PostgreSQL: its tables, its functions, its rules of locks and heart-beats.

Its own worker runs coroutines and marks a job done in a transaction of its own. Ours runs in a thread and marks it done
in the transaction that keeps what came of it, so its `JobManager` is given a connector that works on our connection.
What is due is decided by `now`, as everywhere, and not by the server's clock.
"""

import json
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job as Queued
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import text

from storage.database import Work
from storage.jobs import MAX_TRIES, Dead, Depth, Job, Kept, pause

QUEUE = "zoudian"
_FORGET_WORKERS = 24 * 3600.0  # seconds without a beat before a worker's number is dropped
_STATES = {"todo": "ready", "doing": "running", "failed": "dead"}
_PAUSE_IS_OVER = text(
    "update procrastinate_jobs set scheduled_at = null where status = 'todo' and scheduled_at <= :now"
)
_DEAD = text(
    "select id, task_name, args, lock, attempts, "
    "(select max(at) from procrastinate_events where job_id = jobs.id) as since "
    "from procrastinate_jobs as jobs where status = 'failed' order by id"
)
# A job that was never put off has no time of its own; the event says when it was asked for.
_DEPTHS = text(
    "select task_name, status::text as status, count(*) as jobs, min(coalesce(scheduled_at, "
    "(select min(at) from procrastinate_events where job_id = jobs.id and type = 'deferred'))) as since "
    "from procrastinate_jobs as jobs where status in ('todo', 'doing', 'failed') group by task_name, status"
)
_AGAIN = text(
    "update procrastinate_jobs set status = 'todo', attempts = 0, scheduled_at = null, worker_id = null "
    "where id = :job and status = 'failed' returning id"
)
_DROP = text("update procrastinate_jobs set status = 'cancelled' where id = :job and status = 'failed' returning id")
_KEPT_AS = {"ready": "todo", "running": "doing", "dead": "failed", "dropped": "cancelled"}
_EVERY = text(
    "select id, task_name, args, lock, status::text as status, attempts, coalesce(scheduled_at, "
    "least((select max(at) from procrastinate_events where job_id = jobs.id), now()), now()) as at "
    "from procrastinate_jobs as jobs where queue_name = :queue and status::text = any(:states) order by id"
)
_BRING = text(
    "insert into procrastinate_jobs (id, queue_name, task_name, lock, args, status, scheduled_at, attempts) "
    "values (:id, :queue, :task, :lock, cast(:args as jsonb), "
    "cast(:status as procrastinate_job_status), :at, :attempts)"
)
_SET_ASIDE_AT = text("insert into procrastinate_events (job_id, type, at) values (:id, 'failed', :at)")
_COUNT_ON = text(
    "select setval(pg_get_serial_sequence('procrastinate_jobs', 'id'), max(id)) from procrastinate_jobs "
    "having max(id) is not null"
)
_OLDEST_DUE = text(
    "select min(coalesce(scheduled_at, "
    "least((select max(at) from procrastinate_events where job_id = jobs.id), now()))) from procrastinate_jobs as jobs "
    "where status = 'todo' and (scheduled_at is null or scheduled_at <= :now)"
)

Value = TypeVar("Value")
Row = dict[str, Any]


def put(work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None) -> int:
    wanted = Queued(id=None, queue=QUEUE, lock=lock, queueing_lock=None, task_name=task, task_kwargs=args)
    return _number(_manager(work).defer_job(wanted))


def enlist(work: Work) -> int:
    return _at_once(_manager(work).register_worker())


def beat(work: Work, worker: int | None) -> None:
    if worker is not None:
        _at_once(_manager(work).update_heartbeat(worker))


def claim(work: Work, now: datetime, worker: int | None) -> Job | None:
    work.session.execute(_PAUSE_IS_OVER, {"now": now})
    with work.session.begin_nested() as taking:
        found = _at_once(_manager(work).fetch_job([QUEUE], worker))  # type: ignore[arg-type]  # the column may be null
        if found is not None and found.scheduled_at is not None and found.scheduled_at > now:
            taking.rollback()  # due by the server's clock, not by ours
            return None
    return None if found is None else _job(found)


def still_ours(work: Work, job: Job) -> bool:
    return bool(list(_manager(work).list_jobs(id=job.id, status=Status.DOING.value, worker_id=job.worker)))


def finished(work: Work, job: Job) -> None:
    _at_once(_manager(work).finish_job_by_id_async(job.id, Status.SUCCEEDED, delete_job=True))


def failed(work: Work, job: Job, now: datetime, error: str) -> bool:
    return _again_or_dead(work, job, now + timedelta(seconds=pause(job.tries)))


def recover(work: Work, silent: float) -> list[Job]:
    if not work.if_free("jobs of dead workers"):
        return []
    manager = _manager(work)
    stalled = [_job(job) for job in _at_once(manager.get_stalled_jobs(seconds_since_heartbeat=silent))]
    at_once = datetime.fromtimestamp(0, UTC)
    dead = [job for job in stalled if _again_or_dead(work, job, at_once)]
    _at_once(manager.prune_stalled_workers(_FORGET_WORKERS))
    return dead


def counts(work: Work) -> dict[str, int]:
    found: dict[str, int] = {}
    for job in _manager(work).list_jobs():
        state = _STATES.get(job.status or "", job.status or "")
        found[state] = found.get(state, 0) + 1
    return found


def depths(work: Work) -> list[Depth]:
    return [Depth(row.task_name, _STATES[row.status], row.jobs, row.since) for row in work.run(_DEPTHS)]


def dead(work: Work) -> list[Dead]:
    return [Dead(row.id, row.task_name, row.args, row.lock, row.since, row.attempts, "") for row in work.run(_DEAD)]


def again(work: Work, job_id: int, now: datetime) -> bool:
    return work.run(_AGAIN, job=job_id).one_or_none() is not None


def drop(work: Work, job_id: int, reason: str) -> bool:
    return work.run(_DROP, job=job_id).one_or_none() is not None


def every(work: Work) -> list[Kept]:
    """`running` counts the try that is under way, as on SQLite; there are no other engine's queues of interest."""
    found = []
    for row in work.run(_EVERY, queue=QUEUE, states=list(_KEPT_AS.values())):
        state = _STATES.get(row.status, "dropped")
        tries = row.attempts + 1 if state == "running" else row.attempts
        found.append(Kept(row.id, row.task_name, row.args, row.lock, state, row.at, tries))
    return found


def bring(work: Work, kept: Sequence[Kept]) -> None:
    """A job without a worker counts as one whose worker died. When one was set aside is told by an event."""
    rows = [
        {
            "id": one.id,
            "queue": QUEUE,
            "task": one.task,
            "lock": one.lock,
            "args": json.dumps(one.args),
            "status": _KEPT_AS[one.state],
            "at": one.run_at if one.state == "ready" else None,
            "attempts": one.tries - 1 if one.state == "running" else one.tries,
        }
        for one in kept
    ]
    work.run_each(_BRING, rows)
    work.run_each(_SET_ASIDE_AT, [{"id": one.id, "at": one.run_at} for one in kept if one.state == "dead"])
    work.run(_COUNT_ON)


def oldest_due(work: Work, now: datetime) -> datetime | None:
    found: datetime | None = work.run(_OLDEST_DUE, now=now).scalar_one()
    return found


def stuck(work: Work, silent: float) -> int:
    return len(list(_at_once(_manager(work).get_stalled_jobs(seconds_since_heartbeat=silent))))


def _again_or_dead(work: Work, job: Job, at: datetime) -> bool:
    manager = _manager(work)
    if job.tries >= MAX_TRIES:
        _at_once(manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=False))
        return True
    manager.retry_job_by_id(job.id, retry_at=at)
    return False


def _job(found: Queued) -> Job:
    return Job(
        task=found.task_name,
        args=dict(found.task_kwargs),
        lock=found.lock,
        tries=found.attempts + 1,  # counted there when a try ends
        id=_number(found),
        worker=found.worker_id,
    )


def _number(job: Queued) -> int:
    if job.id is None:
        raise LookupError("the job has no number yet")
    return job.id


def _manager(work: Work) -> JobManager:
    connection = work.session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("Procrastinate needs PostgreSQL through psycopg")
    return JobManager(_OurTransaction(connection))


def _at_once(call: Coroutine[Any, Any, Value]) -> Value:
    """Much of `JobManager` is coroutines; on a connector that never waits they end at their first step."""
    try:
        call.send(None)
    except StopIteration as end:
        result: Value = end.value
        return result
    call.close()
    raise RuntimeError("Procrastinate waited for something that is not there")


class _OurTransaction(BaseConnector):
    """Runs Procrastinate's queries on an open psycopg connection, inside its transaction."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def get_sync_connector(self) -> BaseConnector:
        return self

    def execute_query(self, query: Any, **arguments: Any) -> None:
        self._connection.execute(query, _all_adapted(arguments))

    def execute_query_one(self, query: Any, **arguments: Any) -> Row:
        return self.execute_query_all(query, **arguments)[0]

    def execute_query_all(self, query: Any, **arguments: Any) -> list[Row]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, _all_adapted(arguments)).fetchall()

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        self.execute_query(query, **arguments)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> Row:
        return self.execute_query_one(query, **arguments)

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[Row]:
        return self.execute_query_all(query, **arguments)


def _all_adapted(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: _adapted(value) for name, value in arguments.items()}


def _adapted(value: Any) -> Any:
    """Plain data as psycopg sends it: the arguments of a job as jsonb."""
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_adapted(item) for item in value]
    if isinstance(value, tuple):  # a row of a composite type
        return tuple(_adapted(item) for item in value)
    return value
