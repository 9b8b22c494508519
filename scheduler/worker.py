"""The worker of slow jobs: it lets the recogniser listen, outside any transaction, and hands on what was heard."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from handlers.tools import Tools
from handlers.voice_notes import Heard, note_heard
from nlp import guards
from nlp.audio import BadAudio
from nlp.transcribe import Hints, ModelTooSmall, NoEngine, NoModel, Transcriber
from storage import evidence, firm, jobs
from storage.database import Database, Work
from storage.evidence import Note
from storage.files import FileLost
from storage.jobs import Job

log = logging.getLogger(__name__)

CHANNEL_CONFIDENCE = 0.5  # a channel tells no probability: neither sure nor unsure, and the card is confirmed anyway
HOTWORDS = 15  # names worth biasing towards; more would cut the answer (see docs/voice.md)


def run_one(database: Database, tools: Tools, transcriber: Transcriber, now: Callable[[], datetime]) -> bool:
    """Do the next due job. False when there was none."""
    with database.work() as work:
        job = jobs.claim(work, now())
    if job is None:
        return False
    try:
        heard = listen(database, tools, transcriber, job)
    except Exception as trouble:
        log.warning("job %s failed: %s", job.id, type(trouble).__name__)
        _failed(database, tools, job, now(), type(trouble).__name__)
        return True
    _finish(database, tools, job, heard, now())
    return True


def listen(database: Database, tools: Tools, transcriber: Transcriber, job: Job) -> Heard:
    """What is to be taken for the words of one note.

    Our own recogniser is asked. Where it has no model or cannot hear the note, the words count that the channel itself
    recognised, if there are any; a fault of ours without them is raised, to be tried again.
    """
    with database.read() as work:
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


class Worker:
    """Runs jobs in one thread until stopped. `after` is called whenever something may be waiting to be sent."""

    def __init__(
        self,
        database: Database,
        tools: Tools,
        transcriber: Transcriber,
        now: Callable[[], datetime],
        after: Callable[[], None],
    ) -> None:
        self._database, self._tools, self._transcriber = database, tools, transcriber
        self._now, self._after = now, after
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        with self._database.work() as work:
            jobs.recover(work)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the job in hand; one that takes longer is run again at the next start."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            try:
                busy = run_one(self._database, self._tools, self._transcriber, self._now)
            except Exception:
                log.exception("the worker stumbled")
                busy = False
            if busy:
                self._after()
                continue
            self._wake.wait(1.0)
            self._wake.clear()


def _hints(work: Work, rep: str, seconds: float | None) -> Hints:
    names = [outlet.name for outlet in firm.outlets(work, [rep])][:HOTWORDS] if rep else []
    return Hints(names=tuple(names), claimed_seconds=seconds)


def _finish(database: Database, tools: Tools, job: Job, heard: Heard, now: datetime) -> None:
    ear = tools.ear.of(database)
    with database.work() as work:
        note_heard(work, tools, ear, job.args["note"], job.args["account"], heard, now)
        jobs.finished(work, job.id)


def _failed(database: Database, tools: Tools, job: Job, now: datetime, error: str) -> None:
    ear = tools.ear.of(database)
    with database.work() as work:
        if jobs.failed(work, job, now, error):
            heard = Heard("broken", problem="crashed")
            note_heard(work, tools, ear, job.args["note"], job.args["account"], heard, now)
