"""The sample firm's bot as a process that dies when and where it is told to.

All of it is the product's: the app, the Telegram channel with its library and sockets, the database, the worker. Only
the ear is quick: it knows the few notes of these runs by heart, for a thousand runs of a real one would take days.
With `real_ear` it is the real one, in its process of its own.

Two waits are shorter than the product's, so that a thousand runs take an hour and not a day: a worker that died is
given up after 2 seconds without a word and not after 20.

Importing this module builds the vocabulary, which takes a second; a process forked from one that imported it starts
at once.
"""

import asyncio
import multiprocessing
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.app import App
from bot.channels import Accept, Rendered
from bot.telegram_channel import ABILITIES, TelegramChannel, TelegramSettings
from bot.wiring import SAMPLE_FIRM, TEST_MODEL
from handlers.messages import Media
from nlp.speech_process import SpeechProcess
from nlp.transcribe import Transcriber, Transcript
from scheduler.worker import Worker
from storage.database import Database
from storage.files import key_of
from storage.inbox import Delivery
from tests.botapi.server import TOKEN
from tests.chaos.points import FaultPoints, Point
from tests.telegramfirm import EAR, Clock, firm_tools, sample_database

BEAT, SILENT = 0.25, 2.0  # seconds

# What is said in the one clip of the sample firm that needs no further question: a deal, its reason, a day.
NOTES = {"note18.ogg": "刚跑完老灶台，见到了老板，先拿五箱火锅底料，当面拍板定了，明天送货。"}


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the process. `began` is where the clock of all lives began, `moved` how far it was moved on."""

    url: str
    folder: Path
    api_base: str
    began: float
    moved: timedelta
    trace: Path | None
    kill_at: Point | None = None
    real_ear: bool = False
    beat: float = BEAT
    silent: float = SILENT
    listens: float = 0.0  # how long the quick ear takes for a note


class KnownNotes:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._words = {key_of(clip(name)): words for name, words in NOTES.items()}

    def transcribe(self, audio: bytes, hints: object) -> Transcript:
        threading.Event().wait(self._seconds)
        return Transcript(self._words[key_of(audio)], (), 0.95, "by heart", 5.0, ())


class PointedChannel(TelegramChannel):
    """Telegram's channel with fault points around what goes over the wire."""

    points: FaultPoints

    async def start(self, accept: Accept) -> None:
        async def accepted(delivery: Delivery) -> bool:
            new = await accept(delivery)
            self.points.hit("after an update was taken")
            return new

        await super().start(accepted)

    async def fetch(self, media: Media) -> bytes:
        self.points.hit("before a fetch")
        data = await super().fetch(media)
        self.points.hit("after a fetch")
        return data

    async def send(self, chat_ref: str, message: Rendered) -> str:
        self.points.hit("before a send")
        number = await super().send(chat_ref, message)
        self.points.hit("after a send")
        return number


def clip(name: str) -> bytes:
    return (SAMPLE_FIRM / "clips" / name).read_bytes()


def serve(life: Life) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    asyncio.run(_serve(life))


def _die_with_parent() -> None:
    """Whoever stops the runs half way is not to leave bots behind that look for their server for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


async def _serve(life: Life) -> None:
    points = FaultPoints(life.trace, life.kill_at)
    points.lay()
    database = Database(life.url)
    channel = PointedChannel(TelegramSettings(TOKEN, api_base=life.api_base), poll_s=1, pause_s=0.02)
    channel.points = points
    channel.abilities = replace(ABILITIES, pace=None)  # Telegram's pace would make a run of a second one of ten
    clock, tools, ear = Clock(moved=life.moved, began=life.began), firm_tools(life.folder), _ear(life)
    app = App(database, tools, ear, [channel], now=clock)
    app.worker = Worker(database, tools, ear, clock, app.sender.wake, beat=life.beat, silent=life.silent)
    await app.start()
    await asyncio.Event().wait()


def _ear(life: Life) -> Transcriber:
    ear: Any = SpeechProcess(TEST_MODEL) if life.real_ear else KnownNotes(life.listens)
    return ear  # type: ignore[no-any-return]


def _build_ear() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = sample_database(Path(folder))
        EAR.of(database)
        database.close()


_build_ear()
