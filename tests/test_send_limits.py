"""Limits of sending that hold over processes and restarts, counted where the messages arrive."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.app import utc_now
from bot.channels import Rate
from bot.loopback.work import WorkPlatform
from bot.pacing import Buckets, Window
from bot.send_limits import KeptWindows
from bot.sender import Sender
from bot.telegram_channel import TelegramChannel, TelegramSettings
from bot.wecom_channel import WecomSettings
from handlers.messages import Reply, Say
from handlers.wire import reply_to_plain
from storage import outbox, send_limits
from storage.database import Database
from storage.files import LocalFiles
from storage.outbox import Outgoing
from storage.tables.limits import SendHoldRow
from storage.tables.post import OutboxRow
from tests.botapi.flood import FloodControl
from tests.botapi.server import BotApi
from tests.botapi.troubles import flood
from tests.databases import WHOLE, database_url, open_migrated, postgres_only
from tests.sender_process import SenderProcess

FIRMS = itertools.count()  # each example of a property begins with buckets of its own


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


def queue(database: Database, chats: Sequence[object], each: int, channel: str = "telegram") -> None:
    """So many numbered messages to each chat, one to everybody before the second to anybody."""
    now = utc_now()
    with database.work(WHOLE) as work:
        for number in range(each):
            for chat in chats:
                body = reply_to_plain(Reply(Say("as_is", {"text": f"{number} 致 {chat}"})), None, "zh-CN")
                key = f"{channel}:{chat}:{number}"
                outbox.queue(work, Outgoing(key, channel, str(chat), "reply", body, now, now))


def states(database: Database) -> set[str]:
    with database.read(WHOLE) as work:
        return set(work.session.scalars(select(OutboxRow.state)))


def numbers(api: BotApi, chat: int) -> list[int]:
    return [int(message["text"].split()[0]) for message in api.sent if message["chat"]["id"] == chat]


async def ended(children: Sequence[Any]) -> None:
    for child in children:
        child.kill()
        await asyncio.to_thread(child.join)


@postgres_only
@pytest.mark.chaos
async def test_two_senders_together_are_never_too_fast_for_telegram(tmp_path: Path, database: Database) -> None:
    people, chatty, group = [*range(501, 561)], 701, -100200300
    async with BotApi(flood=FloodControl()) as api:
        api.know(*people, chatty, group)
        queue(database, people, 2)
        queue(database, [chatty], 12)
        queue(database, [group], 6)
        children = [SenderProcess(database_url(tmp_path), tmp_path, api.base).start() for _ in range(2)]
        try:
            await api.until(lambda: len(api.sent) == 138, 60)
            await api.until(lambda: states(database) == {"sent"}, 10)
        finally:
            await ended(children)
        assert api.flood is not None
        assert api.flood.refused == 0
        assert 20 < api.flood.most <= 30, "as fast as it may be, and no faster"
        assert numbers(api, chatty) == [*range(12)]
        assert numbers(api, group) == [*range(6)]
        assert all(numbers(api, chat) == [0, 1] for chat in people)


@pytest.mark.chaos
async def test_killed_and_started_at_once_it_does_not_begin_anew(tmp_path: Path, database: Database) -> None:
    people = [*range(501, 561)]
    queue(database, people, 1)
    queue(database, [701], 9)
    url = database_url(tmp_path)
    database.close()
    async with BotApi(flood=FloodControl()) as api:
        api.know(*people, 701)
        process = SenderProcess(url, tmp_path, api.base)
        child = process.start()
        try:
            for wanted in (15, 30, 45):
                await api.until(lambda wanted=wanted: len(api.sent) >= wanted, 60)  # type: ignore[misc]
                await ended([child])
                child = process.start()
            await api.until(lambda: all(numbers(api, chat)[-1:] == [0] for chat in people), 60)
            await api.until(lambda: numbers(api, 701)[-1:] == [8], 60)
        finally:
            await ended([child])
        assert api.flood is not None
        assert api.flood.refused == 0
        assert sorted(set(numbers(api, 701))) == [*range(9)]


def two_senders(folder: Path, api: BotApi) -> list[tuple[Database, TelegramChannel, Sender]]:
    made = []
    for _ in range(2):
        database = Database(database_url(folder))
        channel = TelegramChannel(TelegramSettings(api.token, api_base=api.base))
        made.append((database, channel, Sender(database, LocalFiles(folder), {"telegram": channel}, utc_now)))
    return made


@postgres_only
async def test_when_several_chats_are_told_to_wait_everybody_waits(tmp_path: Path, database: Database) -> None:
    """Telegram does not say whether a chat is meant or the whole bot; two chats at once mean the bot."""
    async with BotApi() as api:
        people = [*range(501, 521)]
        api.know(*people)
        api.trouble("sendMessage", flood(3, times=2))
        queue(database, people[:2], 2)
        parts = two_senders(tmp_path, api)
        for _, channel, sender in parts:
            await channel.connect()
            await sender.start()
        try:
            await api.until(lambda: _held(database) is not None, 10)
            calls = len(api.called("sendMessage"))
            queue(database, people[2:], 1)
            for _, _, sender in parts:
                sender.wake()
            until = _held(database)
            assert until is not None
            while utc_now() < until - timedelta(milliseconds=100):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            # What had its turn already when the second chat was told may still have gone.
            assert len(api.called("sendMessage")) <= calls + 2
            await api.until(lambda: states(database) == {"sent"}, 20)
            assert all(numbers(api, chat) == [0, 1] for chat in people[:2])
            assert all(numbers(api, chat) == [0] for chat in people[2:])
        finally:
            for other, channel, sender in parts:
                await sender.stop()
                await channel.stop()
                other.close()


def _held(database: Database) -> Any:
    with database.read(WHOLE) as work:
        return work.session.scalar(select(SendHoldRow.until).where(SendHoldRow.name == "telegram"))


def test_one_chat_that_is_told_to_wait_holds_up_nobody_else(database: Database) -> None:
    now = utc_now()
    with database.work(WHOLE) as work:
        assert send_limits.hold(work, "telegram", "501", now + timedelta(seconds=20), now) is None
        assert send_limits.hold(work, "telegram", "501", now + timedelta(seconds=10), now) is None
        assert send_limits.hold(work, "wecom", "501", now + timedelta(seconds=20), now) is None
        assert send_limits.held(work, ["telegram", "wecom"], now) == {}
        both = send_limits.hold(work, "telegram", "502", now + timedelta(seconds=5), now)
        assert both == now + timedelta(seconds=20), "the longer of the two"
        assert send_limits.held(work, ["telegram", "wecom"], now) == {"telegram": both}
        later = now + timedelta(seconds=21)
        assert send_limits.held(work, ["telegram"], later) == {}
        assert send_limits.hold(work, "telegram", "503", later + timedelta(seconds=5), later) is None


@postgres_only
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1, max_size=4), max_size=12))
def test_the_rows_say_what_one_process_would_reckon(database: Database, batches: list[list[tuple[str, int]]]) -> None:
    """While the clock hardly goes on, the server's buckets are those of memory."""
    rate, name = Rate(0.001, 2), next(FIRMS)
    buckets = Buckets(lambda: 0.0)
    for batch in batches:
        costs: dict[str, float] = {}
        for bucket, messages in batch:
            costs[f"{name}:{bucket}"] = costs.get(f"{name}:{bucket}", 0.0) + rate.cost(messages)
        with database.work(WHOLE) as work:
            full_in = send_limits.move_on(work, costs)
        for bucket, messages in batch:
            wait = rate.wait(full_in[f"{name}:{bucket}"], messages)
            full_in[f"{name}:{bucket}"] += rate.cost(messages)
            assert wait == pytest.approx(buckets.wait(bucket, rate, messages), abs=60)  # of thousands


@postgres_only
def test_side_by_side_nobody_takes_what_another_took(database: Database) -> None:
    def take(_: int) -> float:
        with database.work(WHOLE) as work:
            return send_limits.move_on(work, {"all": 100.0, "b": 1.0})["all"]

    with ThreadPoolExecutor(8) as pool:
        full_in = sorted(pool.map(take, range(40)))
    assert [round(seconds / 100) for seconds in full_in] == [*range(40)]


@pytest.mark.parametrize("processes", [pytest.param(1, id="one"), pytest.param(2, marks=postgres_only, id="two")])
@pytest.mark.chaos
async def test_wecom_drops_nothing_however_often_we_are_killed(tmp_path: Path, processes: int) -> None:
    """Its limit is 5 in 2 seconds here, and over it messages vanish without a word."""
    members, each = ("wangjian", "sunhao"), 9
    database = open_migrated(tmp_path)
    queue(database, members, each, "wecom")
    url = database_url(tmp_path)
    database.close()
    async with WorkPlatform(members=members) as platform:
        platform.member_limits = ((6, 2.0),)
        app = WecomSettings(
            platform.app_id,
            platform.agent_id,
            platform.secret,
            platform.callback_token,
            platform.aes_key,
            platform.base,
        )
        process = SenderProcess(url, tmp_path, platform.base, app)
        children = [process.start() for _ in range(processes)]
        try:
            for wanted in (5, 11):
                await platform.until(lambda wanted=wanted: len(platform.sent) >= wanted, 60)  # type: ignore[misc]
                await ended(children[:1])
                children[0] = process.start()
            await platform.until(lambda: all(_heard(platform, one)[-1:] == [each - 1] for one in members), 60)
        finally:
            await ended(children)
        assert platform.dropped == []
        for member in members:
            heard = _heard(platform, member)
            assert list(dict.fromkeys(heard)) == [*range(each)], "each arrived, a repeat right behind its first"
            assert len(heard) <= each + 2


def _heard(platform: WorkPlatform, member: str) -> list[int]:
    return [int(one["text"]["content"].split()[0]) for one in platform.sent if one["to"] == member]


async def test_windows_are_kept_where_the_next_process_finds_them(database: Database) -> None:
    now = [1_000_000.0]
    windows = [KeptWindows(database, "wecom", (Window(3, 10.0),), lambda: now[0]) for _ in range(2)]
    assert await windows[0].reserve("a", 2) == 0
    assert await windows[1].reserve("a", 2) == 11.0
    assert await windows[1].reserve("b", 2) == 0
    assert await windows[1].reserve("a", 1) == 0
    now[0] += 11.0
    assert await windows[0].reserve("a", 3) == 0
