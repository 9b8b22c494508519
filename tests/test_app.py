"""The running bot is killed, stopped and started again: every update counts once, every answer arrives, in order."""

import asyncio
import itertools
import random
import re
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bot.stand_in import made_photo
from bot.telegram_updates import read_update
from handlers.receive import receive
from storage import inbox, outbox, people
from storage.database import Database
from storage.engines import DatabaseBusy
from storage.people import Account
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.visits import PhotoRow
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.databases import WHOLE, open_database, sqlite_only
from tests.killable_bot import KillableBot, channel_without_pace
from tests.telegramfirm import START, WANG_JIAN, running, sample_database

REPS = {f"E{number}": Person(number) for number in range(101, 107)}
KILLS = 10


def unfinished(folder: Path) -> int:
    """How many updates wait to be applied and how many answers to be sent."""
    database = open_database(folder)
    try:
        with database.read(WHOLE) as work:
            new = select(func.count()).where(InboxRow.state == "new")
            due = select(func.count()).where(OutboxRow.state == "due")
            return work.session.scalars(new).one() + work.session.scalars(due).one()
    finally:
        database.close()


@pytest.mark.chaos
async def test_killed_at_any_moment_it_loses_and_repeats_no_update(tmp_path: Path) -> None:
    """Ten kills while six reps send ten photos each; an answer says how many photos there are by now."""
    database = sample_database(tmp_path)
    with database.work(WHOLE) as work:
        for code, person in REPS.items():
            people.link(work, Account("telegram", str(person.id), str(person.id), code), START)
    database.close()
    interrupted = 0
    async with BotApi() as api:
        bot = KillableBot(tmp_path, api)
        for number in range(KILLS):
            for code, person in REPS.items():
                name = f"{code}-{number}"
                api.put_file(name, made_photo(name), f"photos/{name}.jpg")
                await api.give(updates.photo(person, file_id=name, date=int(START.timestamp())))
            await bot.start()
            await asyncio.sleep(random.uniform(0, 0.15))
            await bot.kill()
            interrupted += unfinished(tmp_path) > 0 or bool(api.waiting())
        await bot.start()
        await api.until(lambda: not api.waiting() and _answers(api, 106)[-1:] == [KILLS], 30)
        await api.until(lambda: all(_answers(api, person.id)[-1:] == [KILLS] for person in REPS.values()), 30)
        await asyncio.sleep(0.3)  # for a mark under way
        await bot.kill()
        assert interrupted >= KILLS // 3, "the kills came when nothing was going on"
        for person in REPS.values():
            heard = _answers(api, person.id)
            assert [count for count, _ in itertools.groupby(heard)] == [*range(1, KILLS + 1)]
            assert len(heard) <= 2 * KILLS, "a kill repeats one answer of a chat at the most"
    database = open_database(tmp_path)
    with database.read(WHOLE) as work:
        rows = work.session.scalars(select(InboxRow)).all()
        sent = outbox.after(work, 0)
        photos = work.session.execute(
            select(
                PhotoRow.rep, func.count(PhotoRow.file.distinct()), func.count(), func.count(PhotoRow.visit.distinct())
            )
            .group_by(PhotoRow.rep)
            .order_by(PhotoRow.rep)
        ).all()
    database.close()
    assert [row.state for row in rows] == ["done"] * 60
    assert sorted(message.in_reply_to or 0 for message in sent) == sorted(row.id for row in rows)
    assert {message.state for message in sent} == {"sent"}
    assert [tuple(row) for row in photos] == [(code, KILLS, KILLS, 1) for code in REPS]


def _answers(api: BotApi, chat: int) -> list[int]:
    """The counts of photos that a chat was told, as they arrived."""
    found = [re.search(r"共 (\d+) 张", message["text"]) for message in api.sent if message["chat"]["id"] == chat]
    return [int(match.group(1)) for match in found if match is not None]


async def test_stopping_ends_what_is_under_way_and_starting_again_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        reps = [firm.link(code, person.id) for code, person in REPS.items()]
        names = [f"{code}-{number}" for number in range(5) for code in REPS]
        photos = [reps[place % 6].photo(name) for place, name in enumerate(names)]
        await firm.api.give(*photos)
        await firm.api.until(lambda: len(firm.inbox()) == 30)
        await firm.app.stop()
        before = firm.inbox()
        answered = {row.in_reply_to for row in firm.outbox()}
        assert {row.id for row in before if row.state == "done"} == answered
        assert {row.state for row in before} <= {"new", "done"}
        firm.channel = channel_without_pace(firm.api.base)
        firm.app = firm.make_app()
        await firm.app.start()
        await firm.idle()
        for rep in reps:
            assert _answers(firm.api, rep.person.id) == [1, 2, 3, 4, 5]


async def test_what_was_to_be_said_before_the_stop_is_said_after_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await firm.app.stop()
        at = firm.clock()
        for number, raw in enumerate((rep.text("/help"), rep.text("/visits"))):
            heard = read_update(updates.numbered(raw, number), "123456", at)
            assert heard.delivery is not None
            with firm.database.work(WHOLE) as work:
                row = inbox.accept(work, heard.delivery)
            assert row is not None
            receive(firm.database, firm.tools, row, at)
        firm.channel = channel_without_pace(firm.api.base)
        firm.app = firm.make_app()
        await firm.app.start()
        await firm.idle()
        assert len(rep.texts()) == 2
        assert all(message.made_at >= at for message in firm.outbox())


@sqlite_only
async def test_a_second_bot_on_the_same_database_file_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        with pytest.raises(DatabaseBusy):
            Database(str(firm.database.url))
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.text("/help"))
        assert len(rep.texts()) == 1


@sqlite_only
async def test_the_refusal_holds_between_processes_and_ends_with_a_kill(tmp_path: Path) -> None:
    sample_database(tmp_path).close()
    async with BotApi() as api:
        bot = KillableBot(tmp_path, api)
        await bot.start()
        with pytest.raises(DatabaseBusy):
            open_database(tmp_path)
        await bot.kill()
        open_database(tmp_path).close()
