"""Slow work as rows of the same database: asked for in the transaction that needs it, run at least once, in order of a
lock, set aside after five tries.

On SQLite the rows are a table of ours (storage.job_table) and one process runs them. On PostgreSQL they are jobs of
Procrastinate (storage.job_procrastinate), and the workers of several machines share them. Both behave alike; one test
holds for both (tests/test_jobs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from storage.database import Work

MAX_TRIES = 5
BEAT_SECONDS = 5.0  # how often a worker of several says that it lives
SILENT_SECONDS = 20.0  # after this long without a word its jobs are given to others: run again within 30 s


@dataclass(frozen=True, slots=True)
class Job:
    """`tries` counts this one. `worker` is the number of the worker that has it, None where there is only one."""

    task: str
    args: dict[str, Any]
    lock: str | None
    tries: int
    id: int
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """A job that was set aside at `at`, after so many tries. `error` is empty where the engine keeps none."""

    id: int
    task: str
    args: dict[str, Any]
    lock: str | None
    at: datetime
    tries: int
    error: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A job as it lies there, in a form that both engines have. `state`: ready, running, dead, dropped. `tries` that
    were begun; `run_at` is when it is due, or since when it is set aside.
    """

    id: int
    task: str
    args: dict[str, Any]
    lock: str | None
    state: str
    run_at: datetime
    tries: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs of one task are in one state (ready, running, dead), and since when the oldest of them is due."""

    task: str
    state: str
    count: int
    since: datetime | None


class Engine(Protocol):
    """What both ways of keeping jobs can do; see the functions below."""

    def put(self, work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None) -> int: ...

    def enlist(self, work: Work) -> int | None: ...

    def beat(self, work: Work, worker: int | None) -> None: ...

    def claim(self, work: Work, now: datetime, worker: int | None) -> Job | None: ...

    def still_ours(self, work: Work, job: Job) -> bool: ...

    def finished(self, work: Work, job: Job) -> None: ...

    def failed(self, work: Work, job: Job, now: datetime, error: str) -> bool: ...

    def recover(self, work: Work, silent: float) -> list[Job]: ...

    def counts(self, work: Work) -> dict[str, int]: ...

    def depths(self, work: Work) -> list[Depth]: ...

    def dead(self, work: Work) -> list[Dead]: ...

    def again(self, work: Work, job_id: int, now: datetime) -> bool: ...

    def drop(self, work: Work, job_id: int, reason: str) -> bool: ...

    def every(self, work: Work) -> list[Kept]: ...

    def bring(self, work: Work, kept: Sequence[Kept]) -> None: ...

    def oldest_due(self, work: Work, now: datetime) -> datetime | None: ...

    def stuck(self, work: Work, silent: float) -> int: ...


def put(work: Work, task: str, args: dict[str, Any], now: datetime, lock: str | None = None) -> int:
    """Ask for work; its number. Jobs of one lock run strictly one after another, in the order they were put."""
    return _engine(work).put(work, task, args, now, lock)


def enlist(work: Work) -> int | None:
    """A number for a worker that begins; None where there can be only one."""
    return _engine(work).enlist(work)


def beat(work: Work, worker: int | None) -> None:
    """The worker lives."""
    _engine(work).beat(work, worker)


def claim(work: Work, now: datetime, worker: int | None = None) -> Job | None:
    """Take the next job that is due. A try that kills its worker counts too."""
    return _engine(work).claim(work, now, worker)


def still_ours(work: Work, job: Job) -> bool:
    """Whether the job is still with who claimed it: a worker that was silent for too long has lost it to another."""
    return _engine(work).still_ours(work, job)


def finished(work: Work, job: Job) -> None:
    """Done; its row goes, in the transaction of what it did."""
    _engine(work).finished(work, job)


def failed(work: Work, job: Job, now: datetime, error: str) -> bool:
    """Put back after a growing pause (1 s, 4 s, 16 s …). True when it was the last try and the job is set aside."""
    return _engine(work).failed(work, job, now, error)


def recover(work: Work, silent: float = SILENT_SECONDS) -> list[Job]:
    """Give back what dead workers left running: those which have not said for `silent` seconds that they live. Returns
    the jobs that were set aside because it was their last try.
    """
    return _engine(work).recover(work, silent)


def counts(work: Work) -> dict[str, int]:
    """How many are ready, running and dead; a state that none is in may be absent."""
    return _engine(work).counts(work)


def depths(work: Work) -> list[Depth]:
    """What waits, runs and was set aside, of each task."""
    return _engine(work).depths(work)


def dead(work: Work) -> list[Dead]:
    """The jobs that were set aside and not dealt with since, oldest first."""
    return _engine(work).dead(work)


def again(work: Work, job_id: int, now: datetime) -> bool:
    """As if it had never been tried; False where no such job was set aside."""
    return _engine(work).again(work, job_id, now)


def drop(work: Work, job_id: int, reason: str) -> bool:
    """Nothing more is to come of it; False where no such job was set aside. Procrastinate has no room for a reason."""
    return _engine(work).drop(work, job_id, reason)


def every(work: Work) -> list[Kept]:
    """Every job there is, for copying them to another database."""
    return _engine(work).every(work)


def bring(work: Work, kept: Sequence[Kept]) -> None:
    """Put jobs of another database where there are none, with their numbers, tries, locks and due times. One that was
    running has lost its process and is given back by the first worker that begins.
    """
    _engine(work).bring(work, kept)


def oldest_due(work: Work, now: datetime) -> datetime | None:
    """Since when the job waits that is due the longest."""
    return _engine(work).oldest_due(work, now)


def stuck(work: Work, silent: float = 3 * SILENT_SECONDS) -> int:
    """How many are with a worker that has been silent for so long, and were given to no other."""
    return _engine(work).stuck(work, silent)


def pause(tries: int) -> float:
    """Seconds before the next try, after `tries` tries."""
    return float(min(3600, 4 ** (tries - 1)))


def _engine(work: Work) -> Engine:
    if work.dialect == "postgresql":
        from storage import job_procrastinate  # noqa: PLC0415 - an extra that SQLite firms do not install

        return job_procrastinate
    from storage import job_table  # noqa: PLC0415 - it needs what stands above

    return job_table
