"""Two receivers and two workers on one PostgreSQL, killed and stopped at any moment: as if it were one bot."""

import asyncio
import itertools
import multiprocessing
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bot.app import App
from bot.stand_in import made_photo
from storage import leases, outbox, people
from storage.database import Database
from storage.people import Account
from storage.tables.post import InboxRow
from storage.tables.visits import PhotoRow
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.databases import WHOLE, database_url, postgres_only
from tests.killable_bot import channel_without_pace
from tests.telegramfirm import START, Clock, Deaf, firm_tools, sample_database

pytestmark = [pytest.mark.chaos, postgres_only]

REPS = {f"E{number}": Person(number) for number in range(101, 107)}


class Part:
    """One process of the bot: it receives, or works, or both."""

    def __init__(self, folder: Path, api: BotApi, *, receives: bool, works: bool) -> None:
        self._arguments = (database_url(folder), folder, api.base, receives, works)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.killable_bot"])
        self.start()

    def start(self) -> None:
        self._child = self._processes.Process(target=serve, args=self._arguments, daemon=True)
        self._child.start()

    async def kill(self) -> None:
        self._child.kill()
        await asyncio.to_thread(self._child.join)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._child.pid or 0, number)


def serve(url: str, folder: Path, api_base: str, receives: bool, works: bool) -> None:
    asyncio.run(_serve(url, folder, api_base, receives, works))


async def _serve(url: str, folder: Path, api_base: str, receives: bool, works: bool) -> None:
    tools, channel = firm_tools(folder), channel_without_pace(api_base)
    await App(Database(url), tools, Deaf(), [channel], now=Clock(), receives=receives, works=works).start()
    await asyncio.Event().wait()


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[BotApi, list[Part]]]:
    database = sample_database(folder)
    with database.work(WHOLE) as work:
        for code, person in REPS.items():
            people.link(work, Account("telegram", str(person.id), str(person.id), code), START)
    database.close()
    async with BotApi() as api:
        parts = [Part(folder, api, receives=number < 2, works=number >= 2) for number in range(4)]
        try:
            yield api, parts
        finally:
            for part in parts:
                await part.kill()


async def send_photos(api: BotApi, numbers: range) -> None:
    for number in numbers:
        for code, person in REPS.items():
            name = f"{code}-{number}"
            api.put_file(name, made_photo(name), f"photos/{name}.jpg")
            await api.give(updates.photo(person, file_id=name, date=int(START.timestamp())))


def counted(api: BotApi, chat: int) -> list[int]:
    """How many photos a chat was told there are, as it arrived."""
    found = [re.search(r"共 (\d+) 张", message["text"]) for message in api.sent if message["chat"]["id"] == chat]
    return [int(match.group(1)) for match in found if match is not None]


def judge(url: str, api: BotApi, each: int) -> int:
    """Every photo counted once, in order, every answer sent; returns how many answers were sent twice."""
    database = Database(url)
    with database.read(WHOLE) as work:
        states = work.session.scalars(select(InboxRow.state)).all()
        sent = [message.state for message in outbox.after(work, 0)]
        photos = work.session.execute(
            select(PhotoRow.rep, func.count(PhotoRow.file.distinct()), func.count()).group_by(PhotoRow.rep)
        ).all()
    database.close()
    assert states == ["done"] * (each * len(REPS))
    assert set(sent) == {"sent"}
    assert sorted(tuple(row) for row in photos) == [(code, each, each) for code in REPS]
    for person in REPS.values():
        assert [count for count, _ in itertools.groupby(counted(api, person.id))] == [*range(1, each + 1)]
    return sum(len(counted(api, person.id)) for person in REPS.values()) - each * len(REPS)


async def all_answered(api: BotApi, each: int, seconds: float) -> None:
    await api.until(
        lambda: not api.waiting() and all(counted(api, person.id)[-1:] == [each] for person in REPS.values()), seconds
    )
    await asyncio.sleep(0.5)  # for marks under way


async def test_without_trouble_four_processes_repeat_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, _):
        await send_photos(api, range(6))
        await all_answered(api, 6, 60)
        assert judge(database_url(tmp_path), api, 6) == 0
        assert len({call.method for call in api.calls}) > 2


async def test_killed_one_after_another_they_lose_and_repeat_no_update(tmp_path: Path) -> None:
    kills = 8
    async with cluster(tmp_path) as (api, parts):
        await api.until(lambda: bool(api.called("getUpdates")), 60)
        for number in range(kills):
            await send_photos(api, range(number, number + 1))
            await asyncio.sleep(random.uniform(0, 0.6))
            part = random.choice(parts)
            await part.kill()
            part.start()
        await all_answered(api, kills, 60)
        repeated = judge(database_url(tmp_path), api, kills)
        assert repeated <= kills * len(REPS) // 2, "only what was on its way when its sender was killed"


async def test_what_a_stopped_process_had_goes_on_elsewhere_and_it_changes_nothing_later(tmp_path: Path) -> None:
    """SIGSTOP keeps its connections open, so it is the lease's time that counts; it wakes when all is done."""
    async with cluster(tmp_path) as (api, parts):
        await api.until(lambda: bool(api.called("getUpdates")), 60)
        await send_photos(api, range(2))
        await asyncio.sleep(0.3)
        parts[0].signal(signal.SIGSTOP)
        parts[2].signal(signal.SIGSTOP)
        await send_photos(api, range(2, 4))
        await all_answered(api, 4, leases.SECONDS + 15)
        for part in (parts[0], parts[2]):
            part.signal(signal.SIGCONT)
        await send_photos(api, range(4, 5))
        await all_answered(api, 5, 30)
        judge(database_url(tmp_path), api, 5)
