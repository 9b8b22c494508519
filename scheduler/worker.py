"""The worker of slow jobs: it lets the recogniser listen, outside any transaction, and hands on what was heard."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from structlog.contextvars import bound_contextvars

from handlers.tools import Tools
from handlers.voice_notes import Heard, note_heard
from nlp import guards
from nlp.models import ModelTooSmall, NoModel
from nlp.sound_limits import BadAudio
from nlp.transcribe import Hints, NoEngine, Transcriber
from nlp.understand import Understander
from rules.people import Part, system
from storage import evidence, firm, jobs
from storage.database import Database, Work
from storage.evidence import Note
from storage.files import FileLost
from storage.jobs import Job

log = logging.getLogger(__name__)

CHANNEL_CONFIDENCE = 0.5  # a channel tells no probability: neither sure nor unsure, and the card is confirmed anyway
GATHER_SECONDS = 0.05  # every message wakes the worker; one look at the database serves all that come within this
HOTWORDS = 15  # names worth biasing towards; more would cut the answer (see docs/voice.md)


class Unfinished(Exception):
    """What came of a job could not be stored, nor that it failed: it is still marked as running."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id}")
        self.job = job


def run_one(
    database: Database,
    tools: Tools,
    transcriber: Transcriber,
    now: Callable[[], datetime],
    worker: int | None = None,
) -> bool:
    """Do the next due job. False when there was none. `worker` is the number that `jobs.enlist` gave.

    Raises Unfinished.
    """
    with database.work() as work:
        job = jobs.claim(work, now(), worker)
    if job is None:
        return False
    with bound_contextvars(about=_about(job), job=f"job-{job.id}"):
        return _run(database, tools, transcriber, job, now)


def _run(database: Database, tools: Tools, transcriber: Transcriber, job: Job, now: Callable[[], datetime]) -> bool:
    began = time.monotonic()
    log.info("job started", extra={"task": job.task, "tries": job.tries})
    try:
        heard = listen(database, tools, transcriber, job)
    except Exception as trouble:
        log.warning("job %s failed: %s", job.id, type(trouble).__name__)
        try:
            _failed(database, tools, job, now(), type(trouble).__name__)
        except Exception as other:
            raise Unfinished(job) from other
        return True
    try:
        _finish(database, tools, job, heard, now())
    except Exception as trouble:
        raise Unfinished(job) from trouble
    took = round((time.monotonic() - began) * 1000, 1)
    log.info("job finished", extra={"task": job.task, "result": heard.state, "ms": took})
    return True


def _about(job: Job) -> str:
    """The delivery that brought the note; jobs asked for by an older version, or of notes kept long ago, name none."""
    cause = job.args.get("inbox")
    return f"job-{job.id}" if cause is None else f"in-{cause}"


def listen(database: Database, tools: Tools, transcriber: Transcriber, job: Job) -> Heard:
    """What is to be taken for the words of one note.

    Our own recogniser is asked. Where it has no model or cannot hear the note, the words count that the channel itself
    recognised, if there are any; a fault of ours without them is raised, to be tried again.
    """
    with database.read(system(Part.WORKER)) as work:
        note = evidence.note(work, job.args["note"])
        hints = _hints(work, note.rep if note else "", note.seconds if note else None)
    if note is None:
        return Heard("broken", problem="gone")
    by_channel = _by_channel(tools, note)
    if by_channel is None:
        heard = _by_us(tools, transcriber, note, hints)
    elif tools.channel_words == "first":
        heard = by_channel
    else:
        heard = _by_either(tools, transcriber, note, hints, by_channel)
    tools.ear.think_ahead(database, heard.text, note.at)
    return heard


def _by_channel(tools: Tools, note: Note) -> Heard | None:
    """The words the channel recognised, through the same guards; None where there are none or they are not wanted."""
    text = "" if tools.channel_words == "never" else guards.believable(note.channel_text)
    return Heard("heard", text=text, confidence=CHANNEL_CONFIDENCE, by_channel=True) if text else None


def _by_either(tools: Tools, transcriber: Transcriber, note: Note, hints: Hints, by_channel: Heard) -> Heard:
    """Our own words; the channel's where ours cannot be had. That nobody spoke is an answer, not a failure."""
    try:
        own = _by_us(tools, transcriber, note, hints)
    except Exception as trouble:
        log.warning("note %s: %s, the channel's own words are taken", note.id, type(trouble).__name__)
        return by_channel
    return by_channel if own.state in ("no_model", "broken") else own


def _by_us(tools: Tools, transcriber: Transcriber, note: Note, hints: Hints) -> Heard:
    """What the recogniser makes of a note. A faulty note is an answer too; a fault of ours is raised."""
    try:
        transcript = transcriber.transcribe(tools.files.get(note.file), hints)
    except (NoModel, NoEngine, ModelTooSmall):
        return Heard("no_model")
    except FileLost:
        return Heard("broken", problem="gone")
    except BadAudio as bad:
        return Heard("broken", problem=bad.reason)
    if not transcript.text:
        return Heard("silent", seconds=transcript.seconds, engine=transcript.engine)
    return Heard(
        "heard",
        text=transcript.text,
        confidence=transcript.confidence,
        engine=transcript.engine,
        seconds=transcript.seconds,
        truncated="truncated" in transcript.doubtful,
        unsure="unsure" in transcript.doubtful,
    )


def take_back(database: Database, tools: Tools, now: datetime, silent: float = jobs.SILENT_SECONDS) -> None:
    """Give back what dead workers left; of a note that killed its worker five times the rep is told."""
    with database.work(system(Part.WORKER)) as work:
        for job in jobs.recover(work, silent):
            _given_up(work, tools, tools.ear.of(database), job, now)


class Worker:
    """Runs jobs in one thread until stopped. `after` is called whenever something may be waiting to be sent.

    Where other workers share the database, a second thread says that this one lives, and looks after those that died:
    `beat` and `silent` are the seconds for both.
    """

    def __init__(
        self,
        database: Database,
        tools: Tools,
        transcriber: Transcriber,
        now: Callable[[], datetime],
        after: Callable[[], None],
        *,
        beat: float = jobs.BEAT_SECONDS,
        silent: float = jobs.SILENT_SECONDS,
    ) -> None:
        self._database, self._tools, self._transcriber = database, tools, transcriber
        self._now, self._after, self._beat, self._silent = now, after, beat, silent
        self._wake = threading.Event()
        self._number: int | None = None
        self._unsure = False  # the database was away: the number may be gone, and a job half done
        self._unfinished: Job | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="worker", daemon=True)]
        if database.shared:
            self._threads.append(threading.Thread(target=self._live, name="worker's beat", daemon=True))

    def start(self) -> None:
        self._begin()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        self._wake.set()

    @property
    def runs(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the job in hand; one that takes longer is run again at the next start."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._put_back()
                if self._unsure:
                    self._begin()
                busy = run_one(self._database, self._tools, self._transcriber, self._now, self._number)
            except Unfinished as left:
                log.exception("job %s could not be finished and will be done again", left.job.id)
                self._unfinished, busy = left.job, False
            except Exception:
                log.exception("the worker stumbled")
                self._unsure, busy = True, False
            if busy:
                self._after()
                continue
            if self._wake.wait(1.0):
                self._stop.wait(GATHER_SECONDS)
            self._wake.clear()

    def _put_back(self) -> None:
        """Nobody else would: this worker lives, so what it has counts as under way."""
        if self._unfinished is not None:
            _failed(self._database, self._tools, self._unfinished, self._now(), "could not be stored")
            self._unfinished = None

    def _live(self) -> None:
        while not self._stop.wait(self._beat):
            try:
                with self._database.work() as work:
                    jobs.beat(work, self._number)
                take_back(self._database, self._tools, self._now(), self._silent)
            except Exception:
                log.exception("the worker could not say that it lives")

    def _begin(self) -> None:
        """Under a number of its own, with what it or others left half done given back."""
        with self._database.work() as work:
            self._number = jobs.enlist(work)
        take_back(self._database, self._tools, self._now(), self._silent)
        self._unsure = False


def _hints(work: Work, rep: str, seconds: float | None) -> Hints:
    names = [outlet.name for outlet in firm.outlets(work, [rep])][:HOTWORDS] if rep else []
    return Hints(names=tuple(names), claimed_seconds=seconds)


def _finish(database: Database, tools: Tools, job: Job, heard: Heard, now: datetime) -> None:
    ear = tools.ear.of(database)
    with database.work(system(Part.WORKER)) as work:
        if jobs.still_ours(work, job):
            note_heard(work, tools, ear, job.args["note"], job.args["account"], heard, now, job.args.get("inbox"))
            jobs.finished(work, job)


def _failed(database: Database, tools: Tools, job: Job, now: datetime, error: str) -> None:
    ear = tools.ear.of(database)
    with database.work(system(Part.WORKER)) as work:
        if jobs.still_ours(work, job) and jobs.failed(work, job, now, error):
            _given_up(work, tools, ear, job, now)


def _given_up(work: Work, tools: Tools, ear: Understander, job: Job, now: datetime) -> None:
    heard = Heard("broken", problem="crashed")
    note_heard(work, tools, ear, job.args["note"], job.args["account"], heard, now, job.args.get("inbox"))
