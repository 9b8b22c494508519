"""Two machines on one PostgreSQL, each with the whole bot. One never returns, or wakes when all its work is done.

Nothing is shortened here: what a dead machine held is free within 30 seconds by the product's own waits. `make chaos`
lets the stopped one sleep for a minute (ZOUDIAN_OUTAGE_SECONDS), a test until the other is done.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.stand_in import made_photo
from storage import jobs, leases, people
from storage.database import Database
from storage.people import Account
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.chaos.bot import Life, clip, serve
from tests.chaos.judge import Death, judge
from tests.chaos.kills import PROCESSES, REPS
from tests.databases import WHOLE, database_url, postgres_only
from tests.figures import figure
from tests.telegramfirm import START, sample_database

pytestmark = [pytest.mark.chaos, postgres_only]

OUTAGE_S = float(os.environ.get("ZOUDIAN_OUTAGE_SECONDS", "0"))
PROMISED_S = 30.0
SLACK_S = 30.0  # a shared machine may be slow; what is promised is about waits
NOTE_S = 1.5
HOLDS = "a polling lease, people, chats and a note in the middle of being heard"


@asynccontextmanager
async def machines(folder: Path) -> AsyncIterator[tuple[BotApi, Any, Any]]:
    """The first of them polls, for it was there first."""
    database = sample_database(folder)
    with database.work(WHOLE) as work:
        for code, chat, *_ in REPS:
            people.link(work, Account("telegram", str(chat), str(chat), code), START)
    database.close()
    async with BotApi() as api:
        for code, chat, _, note in REPS:
            api.know(chat)
            api.put_file(note, clip(note), f"voice/{note}")
            for name in (f"{code}-a", f"{code}-b"):
                api.put_file(name, made_photo(name), f"photos/{name}.jpg")
        life = Life(
            *(database_url(folder), folder, api.base, time.monotonic(), timedelta(0), None),
            beat=jobs.BEAT_SECONDS,
            silent=jobs.SILENT_SECONDS,
            listens=NOTE_S,
        )
        first, second = (PROCESSES.Process(target=serve, args=(life,), daemon=True) for _ in range(2))
        try:
            first.start()
            await api.until(lambda: bool(api.called("getUpdates")), 120)
            second.start()
            await asyncio.sleep(2)
            yield api, first, second
        finally:
            for process in (first, second):
                process.kill()
                await asyncio.to_thread(process.join)


async def visits_begin(api: BotApi) -> list[int]:
    given = []
    for code, chat, place, note in REPS:
        person, date = Person(chat), int(START.timestamp())
        photos = [updates.photo(person, file_id=f"{code}-{which}", date=date) for which in "ab"]
        voice = updates.voice(person, 10, file_id=note, size=len(clip(note)), date=date)
        given += await api.give(updates.live(*place, person=person, date=date), *photos, voice)
    return given


def cards(api: BotApi) -> set[int]:
    """The chats that were shown what was made of their note: nothing that came before it waits any more."""
    return {message["chat"]["id"] for message in api.sent if "拜访小结" in str(message.get("text"))}


def running_jobs(folder: Path) -> bool:
    database = Database(database_url(folder), reads_only=True)
    with database.read(WHOLE) as work:
        busy = bool(jobs.counts(work).get("running"))
    database.close()
    return busy


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_what_a_machine_had_that_never_returns_goes_on_elsewhere(stop: signal.Signals, tmp_path: Path) -> None:
    async with machines(tmp_path) as (api, first, _):
        given = await visits_begin(api)
        while not await asyncio.to_thread(running_jobs, tmp_path):  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0, NOTE_S))
        os.kill(first.pid, stop)
        dead, death = time.monotonic(), Death(len(api.sent), time.time())
        given += await api.give(*(updates.text("/todos", Person(chat)) for _, chat, *_ in REPS))  # nobody polls now
        await api.until(lambda: len(cards(api)) == len(REPS) and not api.waiting(), PROMISED_S + SLACK_S)
        took = time.monotonic() - dead
        if stop is signal.SIGSTOP:
            await asyncio.sleep(max(0.0, OUTAGE_S - (time.monotonic() - dead)))
            os.kill(first.pid, signal.SIGCONT)
            await asyncio.sleep(leases.SECONDS / 5)
            assert first.is_alive()
        await asyncio.sleep(2)
        verdict = judge(database_url(tmp_path), tmp_path, set(given), api.sent, [death], None)
        assert verdict.faults == []
        row = "a machine never returns" if stop is signal.SIGKILL else f"a stopped machine wakes after {OUTAGE_S:.0f} s"
        repeated = f"0 double effects, {verdict.sent_twice} sends repeated"
        figure(row, f"{HOLDS}: all of it done elsewhere after {took:.0f} s; {repeated}")
