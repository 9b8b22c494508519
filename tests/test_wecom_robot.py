"""群机器人: a manager's group gets the alert and the day's summary, and what it may not get yet waits."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.channels import HoldOff, MaybeSent, Refused, Rendered, SendError, TakesTurns, Unreachable
from bot.loopback.platform import Trouble
from bot.loopback.work import WorkPlatform
from bot.wecom_robot import GROUP_WINDOWS, Group, GroupRobots, groups_of
from handlers import group_digest
from handlers.sentences import sentence
from storage import people
from storage.database import Database
from storage.inbox import Delivery
from storage.people import GROUPS
from tests.databases import WHOLE
from tests.telegramfirm import START, Clock, sample_database
from tests.test_wecom_visit import WON_NOTE
from tests.wecomfirm import WecomFirm, running
from texts import load

KEY, OTHER = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa", "11111111-2222-3333-4444-555555555555"


async def nobody(delivery: Delivery) -> bool:
    raise AssertionError("nothing comes in from a group")


class Robots:
    def __init__(self, folder: Path, platform: WorkPlatform) -> None:
        self.platform = platform
        self.database: Database = sample_database(folder)
        self.clock = Clock()
        self.channels: list[GroupRobots] = []

    async def start(self, *groups: Group) -> GroupRobots:
        channel = GroupRobots(groups, self.database, api_base=self.platform.base, clock=self.clock)
        self.channels.append(channel)
        await channel.start(nobody)
        return channel

    def groups(self) -> list[tuple[str, str, bool]]:
        with self.database.read(WHOLE) as work:
            return [(one.user_ref, one.employee, one.reachable) for one in people.group_accounts(work)]


@asynccontextmanager
async def robots(folder: Path) -> AsyncIterator[Robots]:
    async with WorkPlatform() as platform:
        platform.robots = {KEY: [], OTHER: []}
        made = Robots(folder, platform)
        try:
            yield made
        finally:
            for channel in made.channels:
                await channel.stop()
            made.database.close()


async def test_a_process_that_only_sends_has_the_keys_too(tmp_path: Path) -> None:
    async with robots(tmp_path) as made:
        channel = GroupRobots((Group("E002", KEY),), made.database, api_base=made.platform.base, clock=made.clock)
        made.channels.append(channel)
        assert isinstance(channel, TakesTurns)
        await channel.connect()
        await channel.send("E002", Rendered(("今日异常预警",)))
        await channel.start(nobody)
        assert made.groups() == [("E002", "E002", True)], "tied once"


async def failing(channel: GroupRobots, text: str = "x", chat: str = "E002") -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(chat, Rendered((text,)))
    assert KEY not in str(caught.value)
    return caught.value


async def a_short_visit(firm: WecomFirm) -> None:
    """One that the alert tells of."""
    rep = firm.member("wangjian")
    await rep.sends(rep.pin())
    await rep.sends(rep.photo())
    await rep.says(WON_NOTE)
    await rep.taps("确认")


async def test_the_group_gets_the_alert_and_the_day_and_no_choices(tmp_path: Path) -> None:
    async with running(tmp_path, groups=[Group("吴经理", KEY)]) as firm:
        heard = firm.platform.robots.setdefault(KEY, [])
        await a_short_visit(firm)
        await firm.time_passes(START.replace(hour=18, minute=1))
        await firm.idle()
        assert [text.partition("（")[0] for text in heard] == ["**🔔 今日异常预警"]
        assert not re.search(r"^1 ", heard[0], re.MULTILINE), "nothing to choose, as nobody can answer"
        await firm.time_passes(START.replace(hour=18, minute=50))
        await firm.platform.until(lambda: len(heard) == 2)
        assert heard[1].splitlines()[0] == "**📊 11月23日 日报（柯桥区）**"
        assert "拜访 1 次，已提交 1 次" in heard[1]
        assert "成交 1 次" in heard[1]
        assert "王建：1 次" in heard[1]
        assert "没有拜访：孙浩" in heard[1]
        assert not [message for message in firm.platform.sent if message["to"] == "wujingli"], "only the group"


async def test_what_is_for_the_manager_alone_does_not_go_to_the_group(tmp_path: Path) -> None:
    async with running(tmp_path, groups=[Group("吴经理", KEY)]) as firm:
        heard = firm.platform.robots.setdefault(KEY, [])
        manager, rep = firm.member("wujingli"), firm.member("wangjian")
        await manager.says("你好")  # an account is tied when its person first writes
        await rep.sends(rep.pin())
        await rep.sends(rep.photo())
        for words in ("例行拜访，没谈生意，解决了摆放的问题。", "确认", "申诉", "我真的在店里"):
            await rep.says(words)
        await firm.idle()
        assert "我真的在店里" in str(manager.messages())
        assert heard == []
        await firm.time_passes(START.replace(hour=18, minute=1))
        await firm.idle()
        assert [text.partition("（")[0] for text in heard] == ["**🔔 今日异常预警"]


async def test_a_day_without_visits_is_told_too_and_who_sees_all_gets_all(tmp_path: Path) -> None:
    async with robots(tmp_path) as made:
        await made.start(Group("E001", KEY))
        with made.database.read(WHOLE) as work:
            staff = people.staff(work)
            lines = group_digest.summary(work, staff[0], staff, START.date())
        told = [sentence(load("zh-CN"), line) for line in lines]
        assert told[0] == "📊 11月23日 日报（全公司）"
        assert told[1] == "拜访 0 次，已提交 0 次"
        assert told[-1] == "没有拜访：王建、孙浩、李敏、周洋、陈涛、赵倩"


async def test_groups_are_tied_at_the_start_and_let_go_when_they_are_no_longer_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with robots(tmp_path) as made:
        channel = await made.start(Group("吴经理", KEY), Group("E002", OTHER), Group("王建", KEY), Group("无名", KEY))
        assert made.groups() == [("E002", "E002", True), ("E002#2", "E002", True)]
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(told) == 2
        assert "王建" in told[0], "a rep has no group"
        await channel.send("E002#2", Rendered(("给第二个群",)))
        assert made.platform.robots == {KEY: [], OTHER: ["给第二个群"]}
        await made.start(Group("E002", OTHER))
        assert made.groups() == [("E002", "E002", True), ("E002#2", "E002", False)]
        await made.start(Group("E002", OTHER), Group("E002", KEY))
        assert made.groups() == [("E002", "E002", True), ("E002#2", "E002", True)]
        assert isinstance(await failing(channel, chat="E009"), Unreachable)


async def test_the_limit_of_a_group_puts_off_and_drops_nothing(tmp_path: Path) -> None:
    async with robots(tmp_path) as made:
        channel = await made.start(Group("E002", KEY))
        for number in range(GROUP_WINDOWS[0].count):
            await channel.send("E002", Rendered((str(number),)))
        wait = await failing(channel)
        assert isinstance(wait, HoldOff)
        assert 0 < wait.seconds <= GROUP_WINDOWS[0].seconds + 1, "a message counts to the end of its second"
        assert len(made.platform.robots[KEY]) == GROUP_WINDOWS[0].count < 20


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble(errcode=45009), HoldOff),
        (Trouble(status=502), MaybeSent),
        (Trouble(cut=True), MaybeSent),
        (Trouble(body=b"{}"), MaybeSent),
        (Trouble(body=b"\xff"), MaybeSent),
        (Trouble(errcode=40058), Refused),
        (Trouble(errcode=93000), Unreachable),
    ],
)
async def test_every_trouble_becomes_what_the_sender_acts_on(
    tmp_path: Path, trouble: Trouble, kind: type[SendError], caplog: pytest.LogCaptureFixture
) -> None:
    async with robots(tmp_path) as made:
        channel = await made.start(Group("E002", KEY))
        made.platform.trouble("webhook/send", trouble)
        with caplog.at_level(logging.DEBUG):
            assert type(await failing(channel)) is kind
        assert KEY not in caplog.text
        if kind is Unreachable:
            assert "ZOUDIAN_WECOM__ROBOTS" in caplog.text
        made.platform.trouble("webhook/send", Trouble(slow_s=0.01))
        made.platform.trouble("webhook/send", trouble)
        with pytest.raises(SendError) as caught:
            await channel.send("E002", Rendered(("一", "二")))
        assert caught.value.sent == 1


EVIL = '王建：*粗* <@all> [点这里](https://x.example)\n# 标题 `码` <font color="warning">红</font> > 引'


async def test_a_heading_is_bold_and_what_people_wrote_is_never_markup(tmp_path: Path) -> None:
    async with robots(tmp_path) as made:
        channel = await made.start(Group("E002", KEY))
        await channel.send("E002", Rendered((f"🔔 今日*异常*预警\n{EVIL}",)))
        await channel.send("E002", Rendered((EVIL.partition("\n")[0],)))  # one line is plain text, as it was written
        await channel.send("E002", Rendered(("标题\n" + "<" * 1400,)))  # as markdown too long: plain text
        plain = GroupRobots((Group("E002", KEY),), made.database, api_base=made.platform.base, markdown=False)
        made.channels.append(plain)
        await plain.start(nobody)
        await plain.send("E002", Rendered((EVIL,)))
        kinds = [call.json["msgtype"] for call in made.platform.calls if call.path == "webhook/send"]
        assert kinds == ["markdown", "text", "text", "text"]
        shown = made.platform.robots[KEY][0]
        assert shown.startswith("**🔔 今日＊异常＊预警**\n")
        assert not re.search(r"[*_`\[\]<>#~|\\]", shown.removeprefix("**").replace("预警**", "", 1))
        assert "点这里" in shown
        assert made.platform.robots[KEY][-1] == EVIL


def test_groups_as_they_are_set() -> None:
    assert groups_of(f"吴经理={KEY}， E003 ＝ {OTHER},") == (Group("吴经理", KEY), Group("E003", OTHER))
    assert groups_of("") == ()
    assert KEY not in repr(groups_of(f"吴经理={KEY}"))
    for wrong in ("吴经理", "=abc", "吴经理=http://x/y?key=z"):
        with pytest.raises(ValueError, match="工号") as caught:
            groups_of(wrong)
        assert wrong not in str(caught.value)


async def test_what_hurries_nobody_keeps_away_from_the_half_hours(tmp_path: Path) -> None:
    async with running(tmp_path, groups=[Group("吴经理", KEY)]) as firm:
        heard = firm.platform.robots.setdefault(KEY, [])
        await a_short_visit(firm)
        await firm.time_passes(START.replace(hour=18, minute=0, second=30))
        await firm.platform.until(lambda: len(heard) == 1)
        assert "预警" in heard[0], "promised for this time"
        ends = START.replace(hour=18, minute=30)
        await firm.time_passes(ends + timedelta(seconds=20))
        await firm.platform.until(lambda: firm.outbox()[-1].due_at > ends + timedelta(minutes=1))
        digest = firm.outbox()[-1]
        assert (digest.intent, digest.channel, digest.state, digest.tries) == ("notice", GROUPS, "due", 0)
        assert timedelta(minutes=4) <= digest.due_at - ends <= timedelta(minutes=14)
        await firm.time_passes(digest.due_at)
        await firm.platform.until(lambda: len(heard) == 2)
