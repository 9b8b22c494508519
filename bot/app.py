"""The running bot: channels, intake, sender, worker and clock, started and stopped together.

On PostgreSQL several processes may run it on one database, all of it each, or divided: some that only receive and
store, others that do the rest. What one alone may do, like polling, is held by a lease.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from bot.channels import Channel, TakesTurns
from bot.intake import Intake
from bot.sender import Sender
from bot.tasks import spawn
from bot.watch import Watch, WatchedTranscriber
from handlers.tools import Tools
from nlp.patterns import compile_rest
from nlp.transcribe import Transcriber
from scheduler.clock import Clock, listen_to_kept_notes
from scheduler.worker import Worker
from storage import leases
from storage.database import Database

log = logging.getLogger(__name__)

# A turn lets go of the interpreter at every statement; Python's own 5 ms would be a long wait for each to get it back.
SWITCH_SECONDS = 0.0005
HOLD_SECONDS = 3.0  # how often the leases are renewed
READY_SECONDS = 1.0  # after the start, before what only notes need is made ready for them
WAIT_SECONDS = 0.5  # how often one that another process has is asked for


def utc_now() -> datetime:
    return datetime.now(UTC)


class App:
    """`model_ready` says whether notes that were kept for want of a model can be heard now; `chores` run every tick.

    `receives`: the channels are listened on; what comes is stored. `works`: what is stored is applied, answered, heard,
    reminded of, whoever stored it.
    """

    def __init__(
        self,
        database: Database,
        tools: Tools,
        transcriber: Transcriber,
        channels: Sequence[Channel],
        *,
        now: Callable[[], datetime] = utc_now,
        model_ready: bool = True,
        chores: Sequence[Callable[[], object]] = (),
        receives: bool = True,
        works: bool = True,
        watch: Watch | None = None,
    ) -> None:
        if not database.shared and not (receives and works):
            raise ValueError("parts of the bot can only run apart on PostgreSQL")
        self.database, self.tools = database, tools
        self.channels = {channel.name: channel for channel in channels}
        self.receives, self.works = receives, works
        self.watch = watch or Watch()
        database.timed = self.watch.transaction
        self._now, self._model_ready = now, model_ready
        self.sender = Sender(database, tools.files, self.channels, now, tools.zone, self.watch)
        self.worker = Worker(database, tools, WatchedTranscriber(transcriber, self.watch), now, self.sender.wake)
        self.intake = Intake(
            database, tools, self.channels, now, self._something_happened, works=works, watch=self.watch
        )
        self.clock = Clock(database, tools, now, self.sender.wake, chores)
        self._holding: asyncio.Task[None] | None = None
        self._readying: asyncio.Task[None] | None = None
        self._polling: set[str] = set()

    async def start(self) -> None:
        """Take up what was left, then begin to receive. The ear is warmed first: nobody waits for a dictionary."""
        log.info("database: %s", self.database.version)
        sys.setswitchinterval(SWITCH_SECONDS)
        if self.works:
            await self._start_working()
        await self.intake.start()
        if self.receives:
            for channel in self.channels.values():
                if not self._in_turns(channel):
                    await channel.start(self.intake.accept)
                    self.watch.meters.polling.labels(channel.name).set(1)
        if self.database.shared:
            await self._hold_on()
            self._holding = spawn(self._keep_holding(), "leases")
        if self.works:
            self.clock.start()
            self._readying = spawn(self._make_ready(), "patterns")

    async def stop(self) -> None:
        """Let running turns and sends end; they need their channels, which stop last. The rest waits as rows."""
        await self.intake.stop()
        if self.works:
            await asyncio.to_thread(self.clock.stop)
            await asyncio.to_thread(self.worker.stop)
        await self.sender.stop()
        for task in (self._holding, self._readying):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for channel in self.channels.values():
            await channel.stop()
        await self.intake.close()
        if self.database.shared:
            await asyncio.to_thread(self._let_go)

    def ended(self) -> list[str]:
        """The parts that run as long as the bot does and ended all the same."""
        parts = {"intake": self.intake.runs}
        if self.works:
            parts |= {"sender": self.sender.runs, "worker": self.worker.runs, "clock": self.clock.runs}
        return [name for name, runs in parts.items() if not runs]

    async def _make_ready(self) -> None:
        await asyncio.sleep(READY_SECONDS)
        await asyncio.to_thread(compile_rest)

    async def _start_working(self) -> None:
        await asyncio.to_thread(self.tools.ear.of, self.database)
        for channel in self.channels.values():
            if isinstance(channel, TakesTurns):
                await channel.connect()
        await self.sender.start()
        self.worker.start()
        if self._model_ready and listen_to_kept_notes(self.database, self._now()):
            self.worker.wake()

    def _turns(self) -> list[Channel]:
        """The channels that this process receives on when it is its turn."""
        return [channel for channel in self.channels.values() if self.receives and self._in_turns(channel)]

    def _in_turns(self, channel: Channel) -> bool:
        return self.database.shared and isinstance(channel, TakesTurns) and channel.receives_alone

    async def _keep_holding(self) -> None:
        while True:
            waits = len(self._polling) < len(self._turns())
            await asyncio.sleep(WAIT_SECONDS if waits else HOLD_SECONDS)
            try:
                await self._hold_on()
            except Exception:
                log.exception("the leases could not be renewed")

    async def _hold_on(self) -> None:
        """Renew what is held. A channel that only one process may receive on is taken when it is free, and left when
        it was lost: to a process that took it while this one was cut off or stopped.
        """
        polled = self._turns()
        held = await asyncio.to_thread(self._renew, [_lease(channel) for channel in polled])
        for channel in polled:
            name = _lease(channel)
            if name in held and name not in self._polling:
                self._polling.add(name)
                await channel.start(self.intake.accept)
                self.watch.meters.polling.labels(channel.name).set(1)
            elif name not in held and name in self._polling and isinstance(channel, TakesTurns):
                log.warning("%s: another process receives now", channel.name)
                self._polling.discard(name)
                self.watch.meters.polling.labels(channel.name).set(0)
                await channel.pause()

    def _renew(self, wanted: list[str]) -> set[str]:
        with self.database.work() as work:
            return leases.renew(work, self.database.holder) | leases.take(work, wanted, self.database.holder)

    def _let_go(self) -> None:
        with self.database.work() as work:
            leases.give_back_all(work, self.database.holder)

    def _something_happened(self) -> None:
        self.worker.wake()
        self.sender.wake()


def _lease(channel: Channel) -> str:
    return f"polling:{channel.name}:{channel.account}"
