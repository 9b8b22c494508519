"""The database is locked by somebody else, the clock jumps: nothing is lost, and the bot goes on by itself."""

import asyncio
import errno
import os
import random
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from nlp.transcribe import Transcript
from scheduler.clock import Clock as Ticks
from scheduler.clock import tick
from storage import jobs
from storage.database import Database, will_pass
from storage.tables.managers import OccurrenceRow
from storage.tables.visits import NoteRow
from tests.botapi.troubles import Trouble
from tests.databases import WHOLE, sqlite_only
from tests.figures import figure
from tests.telegramfirm import START, SUN_HAO, WANG_JIAN, TelegramFirm, firm_tools, running, sample_database

SENT = b'{"ok": true, "result": {"message_id": 9, "date": 1, "chat": {"id": 501, "type": "private"}, "text": "..."}}'
OUTAGE_S = float(os.environ.get("ZOUDIAN_OUTAGE_SECONDS", "3"))


class Slow:
    """A recogniser that takes its time, so that something can happen meanwhile."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def transcribe(self, audio: bytes, hints: object) -> Transcript:
        self.began.set()
        assert self.go_on.wait(30)
        return Transcript("送货太晚", (), 0.9, "by heart", 5.0, ())


def quick_to_give_up(database: Database) -> None:
    """Ten seconds of waiting for a lock are shortened, so that a lock of two seconds is as bad as one of a minute."""
    with database.work(WHOLE) as work:
        work.session.connection().exec_driver_sql("pragma busy_timeout=100")


async def locked(firm: TelegramFirm, seconds: float) -> None:
    """Somebody else holds the file: an administrator's shell, a virus scanner."""
    held = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute('begin exclusive'); input()"
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", held, str(firm.database.url.database)), stdin=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(seconds)
    other.kill()
    await other.wait()


@sqlite_only
@pytest.mark.chaos
async def test_the_database_is_locked_and_nothing_is_lost_or_said_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        quick_to_give_up(firm.database)
        reps = [firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)]
        await firm.api.give(*(rep.photo(f"{rep.person.id}-{number}") for number in range(2) for rep in reps))
        lock = asyncio.ensure_future(locked(firm, max(3.0, OUTAGE_S)))
        for number in range(2, 4):
            await firm.api.give(*(rep.photo(f"{rep.person.id}-{number}") for rep in reps))
            await asyncio.sleep(0.7)
        await lock
        freed = time.monotonic()
        await firm.api.until(lambda: all("共 4 张" in " ".join(rep.texts()) for rep in reps), 8)
        back = time.monotonic() - freed
        assert back < 5 + 2, "ready within five seconds, and two for eight photos"
        await firm.idle()
        figure(
            "database locked, SQLite", f"{OUTAGE_S:.0f} s: 0 lost, 0 twice, in order, all answered {back:.1f} s later"
        )
        assert {row.state for row in firm.inbox()} == {"done"}
        assert {row.tries for row in firm.inbox()} == {0}
        for rep in reps:
            assert len(rep.texts()) == len(set(rep.texts())) == 4


@sqlite_only
async def test_what_was_sent_while_the_database_was_locked_is_not_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        quick_to_give_up(firm.database)
        firm.api.trouble("sendMessage", Trouble(hang_s=0.5, body=SENT))
        await firm.api.give(rep.text("/help"))
        await firm.api.until(lambda: bool(firm.api.called("sendMessage")))
        await locked(firm, 2.5)
        await firm.idle()
        assert len(firm.api.called("sendMessage")) == 1
        assert [message.state for message in firm.outbox()] == ["sent"]


@sqlite_only
async def test_a_note_whose_text_could_not_be_stored_is_heard_again(tmp_path: Path) -> None:
    ear = Slow()
    async with running(tmp_path, ear) as firm:
        rep = firm.link(WANG_JIAN, 501)
        quick_to_give_up(firm.database)
        await firm.api.give(rep.live_place(), rep.voice())
        assert await asyncio.to_thread(ear.began.wait, 20)
        lock = asyncio.ensure_future(locked(firm, 2))
        await asyncio.sleep(0.2)
        ear.go_on.set()
        await lock
        await rep.hears("拜访小结", 20)
        with firm.database.read(WHOLE) as work:
            assert [note.state for note in work.session.scalars(select(NoteRow))] == ["heard"]
            assert not jobs.counts(work)


def test_whose_trouble_it_is(tmp_path: Path) -> None:
    assert will_pass(OSError(errno.ENOSPC, "no space left on device"))
    assert not will_pass(FileNotFoundError(errno.ENOENT, "no such file"))
    assert not will_pass(ValueError("a message of a strange kind"))


def test_the_clock_jumps_and_every_occurrence_comes_once(tmp_path: Path) -> None:
    """A week of ticks, in which the clock jumps an hour to and fro and the machine sleeps for half a day at times."""
    database, tools = sample_database(tmp_path), firm_tools(tmp_path)
    rng = random.Random(5)
    now = START
    days = set()
    while now < START + timedelta(days=7):
        tick(database, tools, now)
        days.add(now.date())
        step = rng.choice([timedelta(minutes=20)] * 8 + [timedelta(hours=1), timedelta(hours=-1), timedelta(hours=12)])
        now += step
    with database.read(WHOLE) as work:
        made = [
            (row.schedule, row.local_day, row.due_at.astimezone(START.tzinfo).date())
            for row in work.session.scalars(select(OccurrenceRow))
        ]
    database.close()
    alerts = [day for name, day, due in made if name == "daily_alert" and day == due]
    workdays = {day for day in days if day.weekday() < 5 and (START.tzinfo and day < now.date())}
    assert workdays <= set(alerts)
    assert len(alerts) == len(set(alerts))


def test_the_ticks_go_on_when_the_clock_is_put_back(tmp_path: Path) -> None:
    database, tools = sample_database(tmp_path), firm_tools(tmp_path)
    ticks = threading.Semaphore(0)
    now = iter([START, *(START - timedelta(hours=1, seconds=-number) for number in range(1000))])
    clock = Ticks(database, tools, lambda: next(now), lambda: None, [ticks.release], every=0.02)
    clock.start()
    try:
        assert all(ticks.acquire(timeout=5) for _ in range(5))
    finally:
        clock.stop()
        database.close()
