"""The running bot: channels, intake, sender, worker and clock, started and stopped together."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bot.channels import Channel
from bot.intake import Intake
from bot.sender import Sender
from handlers.tools import Tools
from nlp.transcribe import Transcriber
from scheduler.clock import Clock, listen_to_kept_notes
from scheduler.worker import Worker
from storage.database import Database

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class App:
    """`model_ready` says whether notes that were kept for want of a model can be heard now; `chores` run every tick."""

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
    ) -> None:
        self.database, self.tools = database, tools
        self.channels = {channel.name: channel for channel in channels}
        self._now, self._model_ready = now, model_ready
        self.sender = Sender(database, tools.files, self.channels, now, tools.zone)
        self.worker = Worker(database, tools, transcriber, now, self.sender.wake)
        self.intake = Intake(database, tools, self.channels, now, self._something_happened)
        self._clock = Clock(database, tools, now, self.sender.wake, chores)

    async def start(self) -> None:
        """Take up what was left, then begin to receive. The ear is warmed first: nobody waits for a dictionary."""
        log.info("database: %s", self.database.version)
        self.tools.ear.of(self.database)
        await self.sender.start()
        self.worker.start()
        if self._model_ready and listen_to_kept_notes(self.database, self._now()):
            self.worker.wake()
        await self.intake.start()
        for channel in self.channels.values():
            await channel.start(self.intake.accept)
        self._clock.start()

    async def stop(self) -> None:
        """Let running turns and sends end; they need their channels, which stop last. The rest waits as rows."""
        await self.intake.stop()
        await asyncio.to_thread(self._clock.stop)
        await asyncio.to_thread(self.worker.stop)
        await self.sender.stop()
        for channel in self.channels.values():
            await channel.stop()
        await self.intake.close()

    def _something_happened(self) -> None:
        self.worker.wake()
        self.sender.wake()
