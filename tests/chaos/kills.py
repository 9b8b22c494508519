"""One run: three reps log a visit each, the firm's day goes by, and the bot is killed on the way and started again."""

import asyncio
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, text

from bot.stand_in import made_photo
from storage import people
from storage.people import Account
from tests import databases
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.chaos.bot import Life, clip, serve
from tests.chaos.judge import Death, Seen, Verdict, judge, seen
from tests.chaos.points import Point, points_of
from tests.databases import WHOLE
from tests.telegramfirm import MANAGER_WU, START, sample_database

Json = dict[str, Any]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.chaos.bot"])

# What a killed process wrote stays in the kernel: a disk's time for fsync would make the runs slower and no better.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_IN_MEMORY = _MEMORY if os.access(_MEMORY, os.W_OK) else None

# Employee, chat, the door of an outlet of theirs, their note.
REPS = (
    ("E101", 101, (30.08218, 120.49390), "note18.ogg"),
    ("E103", 103, (29.99563, 120.58795), "note18.ogg"),
    ("E105", 105, (30.02873, 120.86345), "note18.ogg"),
)
MANAGER = 201
# The visits; the evening, when the alert is due; the next morning, when the reminders are.
PHASES = (timedelta(0), timedelta(hours=8, minutes=10), timedelta(hours=23, minutes=10))
STUCK_AFTER_S = 240.0
_UNKNOWN = 255  # how a child ended, when another thread of ours asked first
_LEFT = (
    "select (select count(*) from inbox where state = 'new') + (select count(*) from outbox where state = 'due')"
    " + (select count(*) from note where state = 'waiting')"
)
_OCCURRENCES = "select count(*) from occurrence"


@dataclass(frozen=True, slots=True)
class Kill:
    """In which phase, and there at a point or after so many seconds."""

    phase: int
    at: Point | float

    def __str__(self) -> str:
        return f"{self.phase}:{self.at}"

    @classmethod
    def of(cls, text_: str) -> "Kill":
        phase, _, at = text_.partition(":")
        return cls(int(phase), Point.of(at) if "#" in at else float(at))


@dataclass(slots=True)
class Outcome:
    verdict: Verdict
    kills: int
    seen: Seen
    points: list[list[Point]] = field(default_factory=list)  # a list a phase
    seconds: list[float] = field(default_factory=list)  # a figure a phase
    occurrences: list[int] = field(default_factory=list)  # how many rows there are at the end of each phase


class Template:
    """The firm with its people's accounts, to be copied for every run."""

    def __init__(self, folder: Path) -> None:
        database = sample_database(folder)
        with database.work(WHOLE) as work:
            for employee, number in [(code, chat) for code, chat, *_ in REPS] + [(MANAGER_WU, MANAGER)]:
                people.link(work, Account("telegram", str(number), str(number), employee), START)
        self.url = database.url.render_as_string(hide_password=False)
        database.close()


async def run(
    template: Template, kills: list[Kill], rng: random.Random, clean: Outcome | None, *, real_ear: bool = False
) -> Outcome:
    """`clean` is a run without a kill, which this one must come out as. Several may go on side by side."""
    folder = Path(tempfile.mkdtemp(prefix="zoudian-chaos-", dir=_IN_MEMORY))
    url = databases.database_url(folder, like=template.url)
    try:
        async with BotApi() as api:
            return await _Run(api, url, folder, kills, rng, real_ear).whole(clean)
    finally:
        databases.drop(url)
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(
        self, api: BotApi, url: str, folder: Path, kills: list[Kill], rng: random.Random, real_ear: bool
    ) -> None:
        self._api, self._url, self._folder, self._rng = api, url, folder, rng
        self._real_ear = real_ear
        self._kills, self._killed = list(kills), 0
        self._deaths: list[Death] = []
        self._given: dict[int, Json] = {}
        self._began = time.monotonic()
        self._traces = 0
        self._quiet_since = 0.0

    async def whole(self, clean: Outcome | None) -> Outcome:
        outcome = Outcome(Verdict(), 0, Seen({}, {}))
        for code, *_ in REPS:
            for name in (f"{code}-a", f"{code}-b"):
                self._api.put_file(name, made_photo(name), f"photos/{name}.jpg")
        for *_, note in REPS:
            self._api.put_file(note, clip(note), f"voice/{note}")
        self._api.know(MANAGER, *(number for _, number, *_ in REPS))
        for phase in range(len(PHASES)):
            began = time.monotonic()
            outcome.points.append(await self._phase(phase, clean.occurrences[phase] if clean is not None else None))
            outcome.seconds.append(time.monotonic() - began)
            outcome.occurrences.append(self._count(_OCCURRENCES))
        sent = self._api.sent
        outcome.seen = seen(self._url, sent)
        wanted = clean.seen if clean is not None else None
        outcome.verdict = judge(self._url, self._folder, set(self._given), sent, self._deaths, wanted)
        outcome.kills = self._killed
        return outcome

    async def _phase(self, phase: int, occurrences: int | None) -> list[Point]:
        """The bot lives until everything of this phase is done, however many lives that takes."""
        kills = [kill for kill in self._kills if kill.phase == phase]
        async with self._people(phase) as all_said:
            while True:
                kill = kills.pop(0) if kills else None
                trace = self._folder / f"trace-{self._traces}"
                self._traces += 1
                died = await self._life(phase, kill, trace, all_said, occurrences)
                await self._api.until_left()
                self._deaths.append(Death(len(self._api.sent), time.time()))
                if not died:
                    return points_of(trace)
                self._killed += 1
                await self._again()

    async def _life(
        self, phase: int, kill: Kill | None, trace: Path, all_said: "asyncio.Future[None]", occurrences: int | None
    ) -> bool:
        """Whether it was killed before everything was done."""
        at = kill.at if kill is not None else None
        life = Life(
            self._url,
            self._folder,
            self._api.base,
            self._began,
            PHASES[phase],
            None if self._kills else trace,
            at if isinstance(at, Point) else None,
            self._real_ear,
        )
        child = PROCESSES.Process(target=serve, args=(life,))
        await asyncio.to_thread(child.start)
        begun = time.monotonic()
        try:
            while child.is_alive():
                lived = time.monotonic() - begun
                if isinstance(at, float) and lived >= at:
                    child.kill()
                    await asyncio.to_thread(child.join)
                    return True
                if await self._over(all_said, occurrences):
                    return False
                if lived > STUCK_AFTER_S:
                    raise AssertionError(f"stuck in phase {phase}: {[message['text'] for message in self._api.sent]}")
                await asyncio.sleep(0.01)
            return True
        finally:
            child.kill()
            await asyncio.to_thread(child.join)
            if child.exitcode is not None and _UNKNOWN != child.exitcode >= 0:
                raise AssertionError(f"the bot ended by itself with {child.exitcode}")

    async def _over(self, all_said: "asyncio.Future[None]", occurrences: int | None) -> bool:
        """Whether everybody heard everything and nothing waits. What time brings about besides, in silence, is waited
        for too: as many rows of it as a run without a kill has, or a second where that is not known yet.
        """
        if not all_said.done() or self._api.waiting() or await asyncio.to_thread(self._count, _LEFT) > 0:
            self._quiet_since = 0.0
            return False
        if occurrences is not None:
            return await asyncio.to_thread(self._count, _OCCURRENCES) >= occurrences
        self._quiet_since = self._quiet_since or time.monotonic()
        return time.monotonic() - self._quiet_since > 1.0

    def _count(self, statement: str) -> int:
        engine = create_engine(self._url)
        try:
            with engine.connect() as connection:
                return int(connection.execute(text(statement)).scalar_one())
        finally:
            engine.dispose()

    async def _again(self) -> None:
        """Before the next life some updates happen to be delivered once more."""
        for number, update in list(self._given.items()):
            if number not in self._api.waiting() and self._rng.random() < 0.2:
                await self._api.give(update)

    @asynccontextmanager
    async def _people(self, phase: int) -> AsyncIterator["asyncio.Future[None]"]:
        work = [self._visit(*rep) for rep in REPS] if phase == 0 else [self._reads(phase)]
        doing = asyncio.gather(*work)
        try:
            yield doing  # type: ignore[misc]
        finally:
            doing.cancel()
            with suppress(asyncio.CancelledError):
                await doing

    async def _gives(self, *given: Json) -> None:
        for update, number in zip(given, await self._api.give(*given), strict=True):
            self._given[number] = {"update_id": number, **update}

    async def _visit(self, code: str, number: int, place: tuple[float, float], note: str) -> None:
        person, date = Person(number), int(START.timestamp())
        photos = [updates.photo(person, file_id=f"{code}-{which}", date=date) for which in "ab"]
        voice = updates.voice(person, 10, file_id=note, size=len(clip(note)), date=date)
        await self._gives(updates.live(*place, person=person, date=date), *photos, voice)
        await self._gives(updates.tap(await self._button(number, "确认"), person))
        await self._hears(number, "具体问题")
        await self._gives(updates.text("送货太晚，改成每天早上送", person, date=date))
        await self._hears(number, "拜访已记录")

    async def _reads(self, phase: int) -> None:
        """The manager the alert, in the evening; every rep the reminder, in the morning."""
        if phase == 1:
            await self._hears(MANAGER, "预警")
        else:
            for _, number, *_ in REPS:
                await self._hears(number, "⏰")

    async def _hears(self, chat: int, words: str) -> None:
        await self._api.until(lambda: any(words in str(message.get("text")) for message in self._to(chat)), 300)

    async def _button(self, chat: int, label: str) -> str:
        def found() -> list[str]:
            rows = [row for message in self._to(chat) for row in _buttons(message)]
            return [one["callback_data"] for row in rows for one in row if label in one["text"]]

        await self._api.until(lambda: bool(found()), 300)
        return found()[-1]

    def _to(self, chat: int) -> list[Json]:
        return [message for message in self._api.sent if message["chat"]["id"] == chat]


def _buttons(message: Json) -> list[list[Json]]:
    return list(message.get("reply_markup", {}).get("inline_keyboard", []))


class Pace:
    """How many seconds each phase takes where nobody is killed in it, lately: a machine has quicker and slower hours,
    and an instant that comes after the end kills nobody.
    """

    def __init__(self, clean: Outcome) -> None:
        self._lately = [deque([seconds], maxlen=9) for seconds in clean.seconds]

    def note(self, kills: list[Kill], outcome: Outcome) -> None:
        """A run that was made: its phases without a kill, all of them where it was over before its first."""
        for phase, seconds in enumerate(outcome.seconds):
            if outcome.kills == 0 or all(kill.phase != phase for kill in kills):
                self._lately[phase].append(seconds)

    @property
    def seconds(self) -> list[float]:
        return [median(found) for found in self._lately]


def plan(rng: random.Random, seed: int, number: int, runs: int, clean: Outcome, pace: Pace) -> list[Kill]:
    """Every point once, or three quarters of the runs where there are too few for all; then any instant; 30 % twice."""
    points = [Kill(phase, point) for phase, found in enumerate(clean.points) for point in found]
    chosen = rng_of(seed).sample(points, min(len(points), max(1, runs * 3 // 4)))

    def instant() -> Kill:
        phase = rng.choices(range(len(PHASES)), weights=pace.seconds)[0]
        return Kill(phase, rng.uniform(0.02, pace.seconds[phase]))

    first = chosen[number] if number < len(chosen) else instant()
    if rng.random() >= 0.3:
        return [first]
    second = rng.choice(points) if rng.random() < 0.5 else instant()
    return sorted([first, second], key=lambda kill: kill.phase)


def rng_of(seed: int, number: int = 0) -> random.Random:
    return random.Random(f"{seed}:{number}")
