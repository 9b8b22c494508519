"""The sender: order, every kind of trouble a platform can make, and no faster than it allows."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import bot.sender
from bot.abilities import MP, TELEGRAM
from bot.channels import (
    Abilities,
    Accept,
    HoldOff,
    MaybeSent,
    NotSent,
    Pace,
    Rate,
    Refused,
    Rendered,
    SendError,
    Shut,
    Unreachable,
)
from bot.sender import Sender
from handlers.messages import Media, Reply, Say
from handlers.wire import reply_to_plain
from storage import outbox, people
from storage.database import Database
from storage.files import LocalFiles
from storage.outbox import MAX_TRIES, Outgoing
from storage.people import Account
from tests import databases
from tests.databases import WHOLE
from tests.telegramfirm import START, SUN_HAO, WANG_JIAN, Clock, sample_database

ZONE = ZoneInfo("Asia/Shanghai")


class Platform:
    """A channel that takes what it is given, or makes the trouble that was set for a chat."""

    name, account = "telegram", "123456"

    def __init__(self, pace: Pace | None = None, abilities: Abilities = TELEGRAM) -> None:
        self.abilities = replace(abilities, pace=pace)
        self.trouble: dict[str, list[SendError]] = defaultdict(list)
        self.took: list[tuple[str, Rendered]] = []
        self.calls = 0
        self.slow: dict[str, asyncio.Event] = {}

    async def start(self, accept: Accept) -> None: ...

    async def stop(self) -> None: ...

    async def fetch(self, media: Media) -> bytes:
        raise AssertionError("nothing comes in here")

    async def send(self, chat_ref: str, message: Rendered) -> str:
        self.calls += 1
        if chat_ref in self.slow:
            await self.slow[chat_ref].wait()
        if self.trouble[chat_ref]:
            raise self.trouble[chat_ref].pop(0)
        self.took.append((chat_ref, message))
        return str(len(self.took))

    def invite_link(self, token: str) -> str:
        return token

    def heard(self, chat: str) -> list[str]:
        return [message.texts[0] for whose, message in self.took if whose == chat]


class Desk:
    """A sender at work; `clock` runs fast."""

    def __init__(self, folder: Path, platform: Platform, speed: float = 100) -> None:
        self.database: Database = sample_database(folder)
        self.files = LocalFiles(folder / "files")
        self.platform, self.clock = platform, Clock(speed)
        with self.database.work(WHOLE) as work:
            self.accounts = {
                ref: people.link(work, Account("telegram", ref, ref, code), START).id
                for ref, code in (("501", WANG_JIAN), ("502", SUN_HAO))
            }
        self.sender = Sender(self.database, self.files, {"telegram": platform}, self.clock, ZONE)

    def queue(self, words: str, chat: str = "501", not_after: datetime | None = None, attach: str = "") -> int:
        now = self.clock()
        body = reply_to_plain(Reply(Say("as_is", {"text": words}), attach=attach), None, "zh-CN")
        message = Outgoing(
            f"{chat}:{words}", "telegram", chat, "reply", body, now, now, self.accounts[chat], None, not_after
        )
        with self.database.work(WHOLE) as work:
            row = outbox.queue(work, message)
        assert row is not None
        self.sender.wake()
        return row

    def rows(self, chat: str = "501") -> list[Outgoing]:
        with self.database.read(WHOLE) as work:
            return outbox.to_chat(work, "telegram", chat)

    async def until_settled(self, *chats: str, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while any(row.state == "due" for chat in chats for row in self.rows(chat)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)
    made = Desk(tmp_path, Platform())
    await made.sender.start()
    yield made
    await made.sender.stop()
    made.database.close()


async def test_messages_of_a_chat_go_out_in_order_and_are_marked_with_their_id(desk: Desk) -> None:
    for number in range(10):
        desk.queue(f"{number}", "501" if number % 2 else "502")
    await desk.until_settled("501", "502")
    assert desk.platform.heard("501") == ["1", "3", "5", "7", "9"]
    assert desk.platform.heard("502") == ["0", "2", "4", "6", "8"]
    assert all(row.state == "sent" and row.provider_id and row.sent_at is not None for row in desk.rows())


async def test_told_to_hold_off_it_waits_that_long_and_counts_no_try(desk: Desk) -> None:
    desk.platform.trouble["501"] = [HoldOff(30), HoldOff(40)]
    desk.queue("一")
    desk.queue("二")
    desk.queue("他", "502")
    await desk.until_settled("502")
    assert desk.platform.heard("501") == []
    await desk.until_settled("501")
    assert desk.platform.heard("501") == ["一", "二"]
    first = desk.rows()[0]
    assert first.tries == 0
    assert first.sent_at is not None
    assert first.sent_at - first.made_at >= timedelta(seconds=70)


@pytest.mark.parametrize("kind", [NotSent, MaybeSent])
async def test_what_did_not_or_may_not_have_arrived_is_sent_again_before_what_follows(
    desk: Desk, kind: type[SendError]
) -> None:
    desk.platform.trouble["501"] = [kind("gone"), kind("gone")]
    desk.queue("一")
    desk.queue("二")
    await desk.until_settled("501")
    assert desk.platform.heard("501") == ["一", "二"]
    assert [row.tries for row in desk.rows()] == [2, 0]


async def test_after_its_last_try_a_message_is_set_aside_and_the_next_goes_out(desk: Desk) -> None:
    """Where others get through it is this message that is at fault."""
    desk.clock.speed = 3000
    desk.platform.trouble["501"] = [NotSent("down") for _ in range(MAX_TRIES)]
    desk.queue("一")
    desk.queue("二")
    desk.queue("他", "502")
    await desk.until_settled("501", "502")
    assert [(row.state, row.error) for row in desk.rows()] == [("failed", "down"), ("sent", "")]
    assert desk.platform.calls == MAX_TRIES + 2


async def test_what_the_platform_refuses_is_not_repeated(desk: Desk) -> None:
    desk.platform.trouble["501"] = [Refused("too long")]
    desk.queue("一")
    desk.queue("二")
    await desk.until_settled("501")
    assert [row.state for row in desk.rows()] == ["failed", "sent"]
    assert desk.platform.calls == 2


async def test_who_blocked_the_bot_is_noted_as_out_of_reach(desk: Desk) -> None:
    desk.platform.trouble["501"] = [Unreachable("blocked", "Forbidden")]
    desk.queue("一")
    desk.queue("他", "502")
    await desk.until_settled("501", "502")
    assert [row.state for row in desk.rows()] == ["failed"]
    with desk.database.read(WHOLE) as work:
        reachable = {account.user_ref: account.reachable for account in people.accounts(work)}
    assert reachable == {"501": False, "502": True}


async def test_what_comes_too_late_is_dropped_and_what_has_a_picture_carries_it(desk: Desk) -> None:
    desk.queue("晚", not_after=START - timedelta(minutes=1))
    desk.queue("图", attach=desk.files.put(b"picture"))
    await desk.until_settled("501")
    assert [row.state for row in desk.rows()] == ["dropped", "sent"]
    assert [message.image for _, message in desk.platform.took] == [b"picture"]


@pytest.fixture
async def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A channel that may answer but once, as 公众号."""
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)
    made = Desk(tmp_path, Platform(abilities=MP), speed=1)
    yield made
    await made.sender.stop()
    made.database.close()


def release(desk: Desk, after: timedelta = timedelta(0)) -> int:
    """The person wrote."""
    with desk.database.work(WHOLE) as work:
        return outbox.release(work, "telegram", "501", desk.clock() + after)


async def test_what_nobody_may_push_waits_for_the_person_and_says_then_that_it_is_late(desk: Desk) -> None:
    desk.platform.trouble["501"] = [Shut("window", "errcode 45015")]
    desk.queue("一")
    await desk.until_settled("501")
    assert [(row.state, row.error) for row in desk.rows()] == [("waiting", "shut:window: errcode 45015")]
    desk.queue("二")
    await desk.until_settled("501")
    assert desk.platform.heard("501") == ["二"], "what waits holds up nothing"
    assert release(desk) == 1
    desk.sender.wake()
    await desk.until_settled("501")
    late = desk.platform.heard("501")[1]
    assert late.startswith("（补发：11月23日 10:0")
    assert "超过 48 小时" in late
    assert late.endswith("\n一")
    assert {row.state for row in desk.rows()} == {"sent"}
    assert release(desk) == 0


async def test_what_waited_over_a_week_is_dropped(desk: Desk) -> None:
    desk.platform.trouble["501"] = [Shut("window")]
    desk.queue("一")
    await desk.until_settled("501")
    assert release(desk, timedelta(days=8)) == 0
    assert [row.state for row in desk.rows()] == ["dropped"]


async def test_where_one_answer_is_all_there_is_what_waits_goes_out_as_one(answering: Desk) -> None:
    for words in ("一", "二", "三"):
        answering.queue(words)
    answering.queue("他", "502")
    await answering.sender.start()
    await answering.until_settled("501", "502")
    assert answering.platform.heard("501") == ["一\n\n二\n\n三"]
    assert len({row.provider_id for row in answering.rows()}) == 1
    assert not answering.platform.took[0][1].more


async def test_no_more_is_joined_than_fits_and_the_first_is_told_that_there_is_more(answering: Desk) -> None:
    long = ["甲" * 300, "乙" * 300, "丙" * 10]
    for words in long:
        answering.queue(words)
    await answering.sender.start()
    await answering.until_settled("501")
    assert answering.platform.heard("501") == [long[0], f"{long[1]}\n\n{long[2]}"]
    assert [message.more for _, message in answering.platform.took] == [True, False]


async def test_trouble_with_joined_messages_is_that_of_each(answering: Desk) -> None:
    answering.platform.trouble["501"] = [Shut("passive")]
    for words in ("一", "二"):
        answering.queue(words)
    await answering.sender.start()
    await answering.until_settled("501")
    assert [row.state for row in answering.rows()] == ["waiting", "waiting"]
    release(answering)
    answering.sender.wake()
    await answering.until_settled("501")
    assert answering.platform.heard("501")[0].count("补发") == 2


async def test_the_pieces_that_arrived_are_not_sent_again(answering: Desk) -> None:
    half = Shut("count")
    half.sent = 1
    answering.platform.trouble["501"] = [half]
    answering.queue("甲" * 500 + "\n" + "乙" * 500)
    await answering.sender.start()
    await answering.until_settled("501")
    release(answering)
    answering.sender.wake()
    await answering.until_settled("501")
    [(_, rest)] = answering.platform.took
    assert len(rest.texts) == 1
    assert "甲" not in rest.texts[0]
    assert rest.texts[0].endswith("乙" * 500)


async def test_what_is_of_no_use_any_more_is_not_joined(answering: Desk) -> None:
    answering.queue("一")
    answering.queue("晚", not_after=START - timedelta(minutes=1))
    answering.queue("二")
    await answering.sender.start()
    await answering.until_settled("501")
    assert answering.platform.heard("501") == ["一\n\n二"]
    assert not answering.platform.took[0][1].more
    assert [row.state for row in answering.rows()] == ["sent", "dropped", "sent"]


async def test_stopping_waits_for_what_is_on_its_way_and_marks_it(desk: Desk) -> None:
    desk.platform.slow["501"] = asyncio.Event()
    desk.queue("一")
    async with asyncio.timeout(5):
        while desk.platform.calls == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(0.2, desk.platform.slow["501"].set)
    await desk.sender.stop()
    assert [row.state for row in desk.rows()] == ["sent"]


async def test_a_channel_is_sent_to_no_faster_than_it_allows(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Platform(Pace(whole=Rate(40, 1), chat=Rate(10, 2))), speed=1)
    for number in range(6):
        desk.queue(f"{number}")
    await desk.sender.start()
    began = time.monotonic()
    await desk.until_settled("501")
    took = time.monotonic() - began
    await desk.sender.stop()
    desk.database.close()
    assert desk.platform.heard("501") == [*"012345"]
    assert took >= 0.4 * 0.9  # two at once, then four more a tenth of a second apart


@databases.postgres_only
async def test_what_another_process_sent_meanwhile_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one was stopped for long, here by its own pace, between taking a message and sending it."""
    monkeypatch.setattr(bot.sender, "SURE_SECONDS", 0.2)
    platform = Platform(Pace(whole=Rate(100, 100), chat=Rate(1, 1)))
    desk = Desk(tmp_path, platform)
    await desk.sender.start()
    try:
        desk.queue("一")
        other = desk.queue("二")
        async with asyncio.timeout(20):
            while not platform.took:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        with desk.database.work(WHOLE) as work:
            outbox.sent(work, other, desk.clock(), "another's")
        desk.queue("三")
        await desk.until_settled("501")
        assert platform.heard("501") == ["一", "三"]
    finally:
        await desk.sender.stop()
        desk.database.close()
