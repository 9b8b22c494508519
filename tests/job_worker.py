"""The worker of slow jobs as a process of its own, to be killed, stopped and never to come back.

Its recogniser does what the note says, and writes down what it was given.
"""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nlp.transcribe import Hints, Transcript
from rules.people import Employee, Role
from scheduler.worker import Worker
from storage import evidence, jobs, people
from storage.database import Database, Work
from storage.evidence import Note
from storage.files import LocalFiles
from storage.people import Account
from tests.telegramfirm import EAR, firm_tools

BEAT, SILENT = 0.2, 1.0  # seconds; the bot takes twenty times as long
LONG_AGO = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)
REP = Employee("E101", "王建", Role.REP, ("柯桥区",))


def now() -> datetime:
    """A clock that is years slow, so that a server never finds a second try not yet due, and runs a hundred times as
    fast as the wall's, so that our own table does not either.
    """
    return LONG_AGO + timedelta(seconds=100 * (time.time() % 1_000_000))


@dataclass
class Obedient:
    """Writes down the words of a note before it does what they say."""

    log: Path

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        words = audio.decode()
        with self.log.open("a", encoding="utf-8") as log:
            log.write(words + "\n")
        times = runs(self.log).count(words)
        if words == "always fails" or (words == "fails twice" and times < 3):
            raise ConnectionError(words)
        if words == "kills" or (words == "kills once" and times == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if words.startswith("sleeps"):
            threading.Event().wait(float(words.split()[1]))
        return Transcript(words, (), 1.0, "obedient", 1.0, ())


def runs(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def put_note(work: Work, folder: Path, words: str, lock: str | None = None) -> int:
    """A voice note that waits to be heard; its number."""
    if people.employee(work, REP.code) is None:
        people.save_employees(work, [REP])
        people.link(work, Account("telegram", "1", "1", REP.code), LONG_AGO)
    file = LocalFiles(folder / "files").put(words.encode())
    note = evidence.add_note(work, Note(REP.code, LONG_AGO, "waiting", file=file, mime="audio/ogg"), None)
    jobs.put(work, "transcribe", {"note": note, "account": people.accounts(work)[0].id}, LONG_AGO, lock)
    return note


def start(url: str, folder: Path) -> BaseProcess:
    """A worker in a process that is forked from one which has imported everything."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    child: Any = processes.Process(target=serve, args=(url, folder), daemon=True)
    child.start()
    return child  # type: ignore[no-any-return]


def serve(url: str, folder: Path) -> None:
    database = Database(url)
    EAR.of(database)
    listener = Obedient(folder / "log")
    worker = Worker(database, firm_tools(folder), listener, now, lambda: None, beat=BEAT, silent=SILENT)
    worker.start()
    threading.Event().wait()
