"""The platforms' limits, kept together by all processes that send for one bot, and over a restart.

On SQLite one process sends: its buckets lie in memory, and after a start they are filled by what the outbox sent last.
On PostgreSQL each bucket is a row, by the server's clock; what several messages take at one time is one statement.

A platform that drops what is too much without a word is counted in rows on both, before anything goes out.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.channels import Channel, Pace, Rate
from bot.pacing import Buckets, Window, taken, window_wait
from bot.tasks import spawn
from storage import outbox, send_limits
from storage.database import Database, Work

log = logging.getLogger(__name__)

SLACK_S: Final = 0.05  # a message that goes so much after its moment asks for a new one
TRIES: Final = 3  # on a machine that is always late it goes all the same
LOOK_BACK_S: Final = 60.0  # after which every bucket is full again


@dataclass(slots=True)
class _Wanted:
    """What one message takes: name of the bucket, its rate; and the answer, seconds to wait for each."""

    takes: tuple[tuple[str, Rate], ...]
    messages: int
    waits: asyncio.Future[tuple[float, ...]]


class SendLimits:
    """Lets messages go when they may. `pool` is where the database is asked; `now` is the outbox's clock."""

    def __init__(
        self, database: Database, channels: Mapping[str, Channel], now: Callable[[], datetime], pool: Executor
    ) -> None:
        self._database, self._now, self._pool = database, now, pool
        self._paces: dict[str, Pace] = {
            name: channel.abilities.pace for name, channel in channels.items() if channel.abilities.pace is not None
        }
        self._channels = list(channels)
        self._buckets = Buckets()
        self._held: dict[str, datetime] = {}
        self._wanted: list[_Wanted] = []
        self._asking: asyncio.Task[None] | None = None
        self._known = False

    def open_channels(self, work: Work) -> list[str]:
        """The channels on which something may be sent now. What another process was told is seen here."""
        now = self._now()
        if self._database.shared or not self._known:
            self._held = send_limits.held(work, self._channels, now)
        if not self._known:
            self._known = True
            self._remember(work, now)
        return [name for name in self._channels if not self.is_held(name)]

    def is_held(self, channel: str) -> bool:
        until = self._held.get(channel)
        return until is not None and until > self._now()

    def told_to_wait(self, work: Work, channel: str, chat: str, until: datetime) -> None:
        """A platform refused a message for now. The message's own row waits; this is for the others."""
        whole = send_limits.hold(work, channel, chat, until, self._now())
        if whole is not None:
            log.warning("%s: told to wait in several chats; nothing is sent there until %s", channel, whole.isoformat())
            work.afterwards(lambda: self._held.update({channel: whole}))

    async def turn(self, channel: str, chat: str, messages: int) -> bool:
        """Wait until so many messages may go to a chat together. False: nothing may go on this channel for now."""
        pace = self._paces.get(channel)
        if pace is None:
            return not self.is_held(channel)
        whole, own = (channel, pace.whole), (f"{channel}:{chat}", pace.of(chat))
        if self._database.shared:
            began = time.monotonic()
            for_all, for_chat = await self._ask((whole, own), messages)
            slot = began + for_all
            await _until(max(slot, began + for_chat))
        else:
            # The chat first: what waits for it would let its turn among all pass.
            await asyncio.sleep(self._buckets.wait(*own, messages))
            slot = time.monotonic() + self._buckets.wait(*whole, messages)
            await _until(slot)
        for _ in range(TRIES):
            if time.monotonic() - slot <= SLACK_S:
                break
            began = time.monotonic()
            slot = began + await self._again(whole, messages)
            await _until(slot)
        return not self.is_held(channel)

    async def _again(self, whole: tuple[str, Rate], messages: int) -> float:
        if self._database.shared:
            return (await self._ask((whole,), messages))[0]
        return self._buckets.wait(*whole, messages)

    async def _ask(self, takes: tuple[tuple[str, Rate], ...], messages: int) -> tuple[float, ...]:
        """The wait for each of these buckets. What is asked while the server answers goes with the next question."""
        wanted = _Wanted(takes, messages, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if self._asking is None or self._asking.done():
            self._asking = spawn(self._ask_all(), "send limits")
        return await wanted.waits

    async def _ask_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wanted:
            batch, self._wanted = self._wanted, []
            try:
                answers = await loop.run_in_executor(self._pool, self._take, batch)
            except Exception as trouble:
                for wanted in batch:
                    if not wanted.waits.done():
                        wanted.waits.set_exception(trouble)
                continue
            for wanted, waits in zip(batch, answers, strict=True):
                if not wanted.waits.done():
                    wanted.waits.set_result(waits)

    def _take(self, batch: Sequence[_Wanted]) -> list[tuple[float, ...]]:
        costs: dict[str, float] = {}
        for wanted in batch:
            for name, rate in wanted.takes:
                costs[name] = costs.get(name, 0.0) + rate.cost(wanted.messages)
        with self._database.work() as work:
            full_in = send_limits.move_on(work, costs)
        answers = []
        for wanted in batch:
            waits = []
            for name, rate in wanted.takes:
                waits.append(rate.wait(full_in[name], wanted.messages))
                full_in[name] += rate.cost(wanted.messages)
            answers.append(tuple(waits))
        return answers

    def _remember(self, work: Work, now: datetime) -> None:
        """What went just before the start counts. On PostgreSQL the rows know."""
        if self._database.shared:
            return
        for channel, pace in self._paces.items():
            for chat, at in outbox.sent_since(work, channel, now - timedelta(seconds=LOOK_BACK_S)):
                ago = max(0.0, (now - at).total_seconds())
                self._buckets.remember(channel, pace.whole, ago)
                self._buckets.remember(f"{channel}:{chat}", pace.of(chat), ago)


class KeptWindows:
    """Windows that hold over restarts and for all processes: what may go is written down before it goes.

    A chat is sent to by one process at a time. `clock` counts seconds since 1970; without one PostgreSQL's own counts.
    """

    def __init__(
        self, database: Database, channel: str, windows: Sequence[Window], clock: Callable[[], float] | None = None
    ) -> None:
        self._database, self._channel, self._windows, self._clock = database, channel, tuple(windows), clock

    async def reserve(self, chat: str, messages: int) -> float:
        """Count so many messages as sent, and return 0; or count nothing, and return the seconds to wait."""
        return await asyncio.to_thread(self._reserve, f"{self._channel}:{chat}", messages) if messages else 0.0

    def _reserve(self, name: str, messages: int) -> float:
        with self._database.work() as work:
            moments = send_limits.moments(work, name)
            now = self._clock() if self._clock is not None else send_limits.clock(work) or time.time()
            wait = window_wait(moments, self._windows, now, messages)
            if wait <= 0:
                send_limits.keep_moments(work, name, taken(moments, self._windows, now, messages))
        return wait


async def _until(moment: float) -> None:
    """By the monotonic clock."""
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
