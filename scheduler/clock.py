"""The clock: a tick every few seconds, which asks the database what is due. Nothing is ever scheduled in memory.

The pause between two ticks is one of the monotonic clock: APScheduler's own would wait an hour after the wall clock was
put back an hour.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from handlers import reminders, voice_notes
from handlers.tools import Tools
from rules.people import Part, system
from scheduler.daily import recurring_pushes
from storage import audit
from storage.database import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 10  # bounds what a jump of the clock or a suspended machine can delay


def tick(database: Database, tools: Tools, now: datetime) -> int:
    """Everything that time brings about: reminders, pushes, a word to who waits for a note. How many were queued.

    Several processes may tick: what one is at, the others leave to it.
    """
    made, more = 0, True
    while more:
        with database.work(system(Part.CLOCK)) as work:
            more = work.if_free("tick")
            if more:
                reminded = reminders.remind(work, now, tools.limits)
                more = reminded == reminders.AT_A_TIME
                made += reminded + (0 if more else voice_notes.still_listening(work, now))
                if not more:
                    audit.seal(work)
    return made + recurring_pushes(database, tools.limits, now)


class Clock:
    """Ticks every 10 seconds, beginning at once. `after` is called when something was queued, `chores` each time."""

    def __init__(
        self,
        database: Database,
        tools: Tools,
        now: Callable[[], datetime],
        after: Callable[[], None],
        chores: Sequence[Callable[[], object]] = (),
        every: float = EVERY_SECONDS,
    ) -> None:
        self._database, self._tools, self._now = database, tools, now
        self._after, self._chores, self._every = after, chores, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self.ticked: float | None = None  # time.monotonic() at the end of the last tick that went well, or at the start

    def start(self) -> None:
        self.ticked = time.monotonic()
        self._thread.start()

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let a running tick end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for one in (*self._chores, self._tick):
                try:
                    one()
                except Exception:
                    log.exception("a tick of the clock failed")
            self._stop.wait(self._every)

    def _tick(self) -> None:
        began = time.monotonic()
        made = tick(self._database, self._tools, self._now())
        self.ticked = time.monotonic()
        if made:
            log.info("tick", extra={"count": made, "ms": round((self.ticked - began) * 1000, 1)})
            self._after()


def listen_to_kept_notes(database: Database, now: datetime) -> int:
    """At start, with a model at hand: the notes that waited for one are heard."""
    with database.work(system(Part.CLOCK)) as work:
        return voice_notes.listen_again(work, now)
