"""Slow jobs, on SQLite's own table and on Procrastinate alike: in order, at least once, never for ever."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from storage import evidence, jobs
from storage.database import Database
from storage.migrate import migrate
from tests import databases, job_worker
from tests.databases import WHOLE
from tests.job_worker import LONG_AGO, put_note, runs


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A migrated database, closed."""
    return empty(databases.database_url(tmp_path))


def empty(url: str) -> str:
    database = Database(url)
    migrate(database)
    database.close()
    return url


@pytest.fixture
def workers(url: str, tmp_path: Path) -> Iterator[Callable[[], BaseProcess]]:
    """Starts a worker process."""
    started: list[BaseProcess] = []

    def start() -> BaseProcess:
        started.append(job_worker.start(url, tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def counts(url: str) -> dict[str, int]:
    """While a worker has a SQLite file it can only be looked at."""
    database = Database(url, reads_only=True)
    try:
        with database.read(WHOLE) as work:
            return {state: count for state, count in jobs.counts(work).items() if count}
    finally:
        database.close()


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        signal.sigtimedwait([], 0.05)


def test_in_order_a_lock_again_after_a_fault_and_set_aside_after_five(
    url: str, tmp_path: Path, workers: Callable[[], BaseProcess]
) -> None:
    database = Database(url)
    with database.work(WHOLE) as work:
        notes = {f"note {chat} {place}": f"visit:{chat}" for place in range(12) for chat in range(3)}
        for words, lock in notes.items():
            put_note(work, tmp_path, words, lock)
        odd = [put_note(work, tmp_path, words) for words in ("fails twice", "always fails", "kills", "kills once")]
    with suppress(ZeroDivisionError), database.work(WHOLE) as work:
        put_note(work, tmp_path, "never asked for")
        raise ZeroDivisionError
    database.close()
    worker = workers()

    def over() -> bool:
        nonlocal worker
        if not worker.is_alive():
            worker = workers()
            return False
        return counts(url) == {"dead": 2}

    until(over, 60)
    worker.kill()
    worker.join()
    done = runs(tmp_path / "log")
    for chat in range(3):
        assert [line for line in done if line.startswith(f"note {chat}")] == [f"note {chat} {n}" for n in range(12)]
    assert {words: done.count(words) for words in ("fails twice", "always fails", "kills", "kills once")} == {
        "fails twice": 3,
        "always fails": 5,
        "kills": 5,
        "kills once": 2,
    }
    assert "never asked for" not in done
    database = Database(url)
    with database.read(WHOLE) as work:
        states = [note.state for note in evidence.notes(work, odd).values()]
    database.close()
    assert states == ["heard", "broken", "broken", "heard"], "what was given up is known to be"


@databases.postgres_only
@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_that_never_returns_or_was_stopped_loses_its_job_to_another(
    stop: signal.Signals, tmp_path: Path
) -> None:
    """The stopped one goes on when the other has done its job: what it brings then is left out."""
    url = empty(databases.postgres_url(tmp_path))
    database = Database(url)
    first = job_worker.start(url, tmp_path)
    other: BaseProcess | None = None
    try:
        with database.work(WHOLE) as work:
            note = put_note(work, tmp_path, "sleeps 1.5")
        until(lambda: runs(tmp_path / "log") == ["sleeps 1.5"], 20)
        os.kill(first.pid or 0, stop)
        other = job_worker.start(url, tmp_path)
        until(lambda: counts(url) == {}, 20)
        if stop is signal.SIGSTOP:
            os.kill(first.pid or 0, signal.SIGCONT)
            signal.sigtimedwait([], 2.0)
            assert first.is_alive()
        assert runs(tmp_path / "log") == ["sleeps 1.5"] * 2
        with database.read(WHOLE) as work:
            found = evidence.note(work, note)
        assert found is not None
        assert found.state == "heard"
    finally:
        for process in (first, other):
            if process is not None:
                process.kill()
                process.join()
        database.close()


def test_a_job_set_aside_is_begun_again_or_dropped_once(url: str, tmp_path: Path) -> None:
    database = Database(url)
    at = job_worker.now()
    with database.work(WHOLE) as work:
        worker = jobs.enlist(work)
        for words in ("first", "second"):
            put_note(work, tmp_path, words, "visit:1")
    for tries in range(2 * jobs.MAX_TRIES):
        with database.work(WHOLE) as work:
            job = jobs.claim(work, at + timedelta(days=tries), worker)
            assert job is not None
            jobs.failed(work, job, at + timedelta(days=tries), "ZeroDivisionError")
    with database.work(WHOLE) as work:
        first, second = jobs.dead(work)
        assert (first.task, first.lock, first.tries, second.tries) == ("transcribe", "visit:1", 5, 5)
        assert jobs.again(work, first.id, at)
        assert jobs.drop(work, second.id, "nobody needs it")
        assert not jobs.again(work, second.id, at)
        assert not jobs.drop(work, first.id, "is no longer dead")
        assert jobs.dead(work) == []
    with database.work(WHOLE) as work:
        job = jobs.claim(work, at + timedelta(days=99), worker)
        assert job is not None
        assert (job.id, job.args, job.tries) == (first.id, first.args, 1)
        assert jobs.claim(work, at + timedelta(days=99), worker) is None
    database.close()


def test_what_a_dead_machine_left_is_begun_again_within_half_a_minute() -> None:
    assert jobs.SILENT_SECONDS + jobs.BEAT_SECONDS + 1 < 30


@databases.postgres_only
def test_a_worker_that_lost_its_job_changes_nothing_by_it(tmp_path: Path) -> None:
    database = Database(empty(databases.postgres_url(tmp_path)))
    with database.work(WHOLE) as work:
        put_note(work, tmp_path, "anything")
        slow, quick = jobs.enlist(work), jobs.enlist(work)
    with database.work(WHOLE) as work:
        lost = jobs.claim(work, LONG_AGO, slow)
    assert lost is not None
    with database.work(WHOLE) as work:
        assert jobs.claim(work, LONG_AGO, quick) is None
        assert jobs.recover(work, silent=0.0) == []
    with database.work(WHOLE) as work:
        taken = jobs.claim(work, LONG_AGO, quick)
        assert taken is not None
        assert (taken.id, taken.tries) == (lost.id, 2)
        assert not jobs.still_ours(work, lost)
        assert jobs.still_ours(work, taken)
        jobs.finished(work, taken)
    with database.read(WHOLE) as work:
        assert jobs.counts(work) == {}
    database.close()
