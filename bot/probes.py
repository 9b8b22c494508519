"""Whether this process lives and is ready, and how things stand: what /healthz, /readyz and /metrics answer with.

Nothing here waits for a database longer than `PATIENCE_SECONDS`, however long the database takes.
"""

import asyncio
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from bot.meters import Meters, Standing, page
from bot.tasks import spawn
from rules.limits import Limits
from rules.people import Part, system
from scheduler.daily import overdue
from storage import gauges
from storage.database import Database
from storage.gauges import Gauges

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 1.5  # a probe is answered within two seconds
FRESH_SECONDS: Final = 1.0  # an answer is given again to who asks so soon, strangers on the public port above all
LATE_SECONDS: Final = 60.0  # unsent, or the clock behind: longer than that something is in the way
STUCK_SECONDS: Final = 5.0  # an event loop that turns so slowly serves nobody
_BEAT_SECONDS: Final = 0.5
_REMEMBERED: Final = 20  # beats

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wrong` names what is not as it should be: starting, stopping, loop, stopped (a part of the bot ended), database,
    disk, unsent, schedule. `details` is plain data for the operator; it holds no secret and nobody's words.
    """

    wrong: tuple[str, ...]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        return not self.wrong


class Asked(Generic[T]):
    """A question that may block, asked in a thread of its own. Two threads at the most ever wait for an answer."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._pool = ThreadPoolExecutor(2, "probe")
        self._under_way: deque[tuple[float, asyncio.Future[T]]] = deque()
        self._last: asyncio.Future[T] | None = None
        self._answered = 0.0

    async def answer(self) -> T:
        """Raises what the question raised, or TimeoutError."""
        loop = asyncio.get_running_loop()
        if self._last is not None and loop.time() - self._answered < FRESH_SECONDS:
            return self._last.result()
        newest = self._under_way[-1][0] if self._under_way else 0.0
        if not self._under_way or (len(self._under_way) < 2 and loop.time() - newest > PATIENCE_SECONDS):
            asked = loop.run_in_executor(self._pool, self._question)
            self._under_way.append((loop.time(), asked))
            asked.add_done_callback(self._ended)
        waiting = [asked for _, asked in self._under_way]
        done, _ = await asyncio.wait(waiting, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise TimeoutError
        return done.pop().result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, asked: "asyncio.Future[T]") -> None:
        self._under_way = deque(one for one in self._under_way if one[1] is not asked)
        if not asked.cancelled():
            asked.exception()  # is looked at, so that asyncio does not complain of one nobody waited for
            self._last, self._answered = asked, asyncio.get_running_loop().time()


class Probes:
    """`parts` says which parts of the bot have ended though they should not; `ticked` when the clock's last tick was
    done, by time.monotonic(). A process that does not `work` is not asked for what others send or remind of.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        folder: Path,
        channels: Collection[str],
        meters: Meters,
        now: Callable[[], datetime],
        *,
        works: bool,
        free_mb: int = 1000,
        parts: Callable[[], Collection[str]] = tuple,
        ticked: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._database, self._limits, self._folder = database, limits, folder
        self._channels, self._meters, self._now, self._works = channels, meters, now, works
        self._free_mb, self._parts, self._ticked = free_mb, parts, ticked
        self._writing = Asked(self._write)
        self._reading = Asked(self._read)
        self._engine = "SQLite" if not database.shared else "PostgreSQL"
        self._lags: deque[float] = deque(maxlen=_REMEMBERED)
        self._beating: asyncio.Task[None] | None = None
        self._phase = "starting"  # then ready, then stopping

    def start(self) -> None:
        self._beating = spawn(self._beat(), "loop lag")

    def begun(self) -> None:
        """The bot has started. That its loop stood still for a while meanwhile is no matter any more."""
        self._phase = "ready"
        self._lags.clear()

    def ending(self) -> None:
        self._phase = "stopping"

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        self._writing.close()
        self._reading.close()

    def alive(self) -> Verdict:
        """Whether the event loop turns and no part of the bot has ended by itself."""
        lag = max(self._lags, default=0.0)
        ended = sorted(self._parts()) if self._phase == "ready" else []
        wrong = [*(["loop"] if lag > STUCK_SECONDS else []), *(["stopped"] if ended else [])]
        return Verdict(tuple(wrong), {"loop_lag_s": round(lag, 3), "stopped": ended})

    async def ready(self) -> Verdict:
        """Whether work given to this process now is done now."""
        details: dict[str, Any] = {"phase": self._phase}
        wrong = [] if self._phase == "ready" else [self._phase]
        lives = self.alive()
        details |= lives.details
        wrong += lives.wrong
        wrote, seen = await asyncio.gather(self._writing.answer(), self._reading.answer(), return_exceptions=True)
        trouble = next((one for one in (wrote, seen) if isinstance(one, BaseException)), None)
        details["database"] = "ok" if trouble is None else type(trouble).__name__
        wrong += [] if trouble is None else ["database"]
        free = self._free()
        details["disk_free_mb"] = None if free is None else free // 1_000_000
        if free is not None and free < self._free_mb * 1_000_000:
            wrong.append("disk")
        if self._works:
            wrong += self._late(seen[0] if isinstance(seen, tuple) else None, details)
        return Verdict(tuple(wrong), details)

    async def metrics(self) -> bytes:
        """The page for Prometheus, with what the database says if it answers in time."""
        self._meters.loop_lag.set(max(self._lags, default=0.0))
        seen: Gauges | None = None
        with suppress(Exception):
            seen, self._engine = await self._reading.answer()
        lag = self._schedule_lag(seen) if self._works else None
        standing = Standing(self._now(), seen, lag, self._free(), self._engine)
        return await asyncio.to_thread(page, self._meters, standing)

    def _late(self, seen: Gauges | None, details: dict[str, Any]) -> list[str]:
        wrong: list[str] = []
        lag = self._schedule_lag(seen)
        details["schedule_lag_s"] = None if lag is None else round(lag, 1)
        if lag is not None and lag > LATE_SECONDS:
            wrong.append("schedule")
        if seen is not None:
            since = seen.unsent_since
            age = 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())
            details["oldest_unsent_s"] = round(age, 1)
            if age > LATE_SECONDS:
                wrong.append("unsent")
        return wrong

    def _schedule_lag(self, seen: Gauges | None) -> float | None:
        """Seconds: since the last tick of this process's clock, or a push is overdue, whichever is more."""
        ticked = self._ticked()
        lags = [] if ticked is None else [time.monotonic() - ticked]
        if seen is not None:
            lags.append(overdue(self._limits, seen.schedules, self._now()).total_seconds())
        return max(lags, default=None)

    def _write(self) -> None:
        with self._database.work(system(Part.CONSOLE)) as work:
            gauges.prove_writing(work, self._database.holder)

    def _read(self) -> tuple[Gauges, str]:
        with self._database.read(system(Part.CONSOLE)) as work:
            seen = gauges.look(work, self._now(), self._channels)
        return seen, self._engine if " " in self._engine else self._database.version

    def _free(self) -> int | None:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return None

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_BEAT_SECONDS)
            self._lags.append(max(0.0, loop.time() - before - _BEAT_SECONDS))
