"""The clock: APScheduler with a handful of fixed ticks in memory. Nothing per visit is ever scheduled here."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from handlers import reminders, voice_notes
from handlers.tools import Tools
from scheduler.daily import recurring_pushes
from storage.database import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 10  # bounds what a jump of the clock or a suspended machine can delay


def tick(database: Database, tools: Tools, now: datetime) -> int:
    """Everything that time brings about: reminders, pushes, a word to who waits for a note. How many were queued.

    Several processes may tick: what one is at, the others leave to it.
    """
    with database.work() as work:
        made = 0
        if work.if_free("tick"):
            made = reminders.remind(work, now, tools.limits) + voice_notes.still_listening(work, now)
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
    ) -> None:
        def beat() -> None:
            for chore in chores:
                chore()
            if tick(database, tools, now()):
                after()

        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._scheduler.add_job(
            beat,
            "interval",
            seconds=EVERY_SECONDS,
            id="tick",
            next_run_time=datetime.now(UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Let a running tick end."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def listen_to_kept_notes(database: Database, now: datetime) -> int:
    """At start, with a model at hand: the notes that waited for one are heard."""
    with database.work() as work:
        return voice_notes.listen_again(work, now)
