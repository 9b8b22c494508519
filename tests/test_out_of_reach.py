"""Whom nothing reaches: named with the reason to their own managers, until they write again."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from handlers import alerts, group_digest, out_of_reach
from handlers.messages import Reply, Say
from handlers.sentences import sentence
from handlers.turn import outgoing
from reports import day
from storage import outbox, people
from storage.people import Account
from tests.botapi import updates
from tests.botapi.troubles import Trouble, blocked
from tests.databases import WHOLE
from tests.telegramfirm import MANAGER_WU, START, WANG_JIAN, Phone, TelegramFirm, running
from texts import load


def told(firm: TelegramFirm, manager: str = MANAGER_WU, language: str = "zh-CN") -> list[str]:
    with firm.database.read(WHOLE) as work:
        found = people.employee(work, manager)
        assert found is not None
        return [sentence(load(language), line) for line in out_of_reach.line(work, found)]


def say(firm: TelegramFirm, rep: Phone, words: str) -> None:
    with firm.database.work(WHOLE) as work:
        account = people.account(work, "telegram", str(rep.person.id))
        assert account is not None
        outbox.queue(
            work, outgoing(account, Reply(Say("as_is", {"text": words})), firm.clock(), words, intent="reminder")
        )
    firm.app.sender.wake()


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (blocked(), "拉黑或停用了机器人"),
        (Trouble(403, "Forbidden: user is deactivated"), "聊天账号已注销"),
        (Trouble(400, "Bad Request: chat not found"), "还没有和机器人说过话"),
    ],
)
async def test_the_manager_reads_who_cannot_be_reached_and_why_until_they_write(
    tmp_path: Path, trouble: Trouble, why: str
) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        assert told(firm) == []
        firm.api.trouble("sendMessage", trouble)
        say(firm, rep, "提醒")
        await firm.idle()
        [line] = told(firm)
        assert line == f"📵 1 人收不到消息，请提醒他们给机器人发一条：王建（{why}）"
        assert "王建 (" in told(firm, language="en")[0]
        assert firm.outbox()[-1].state == "failed"
        await rep.sends(rep.text("/help"))
        assert told(firm) == []
        with firm.database.read(WHOLE) as work:
            assert people.unreachable(work) == []


async def test_only_the_own_manager_reads_it_and_only_of_who_is_reached_no_other_way(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(updates.member_change("kicked", rep.person))
        assert "拉黑、删除或取消关注了机器人" in told(firm)[0]
        with firm.database.read(WHOLE) as work:
            staff = people.staff(work)
            manager = next(person for person in staff if person.code == MANAGER_WU)
            elsewhere = replace(manager, code="E099", districts=("别处",))
            assert day.out_of_reach(work, elsewhere) == []
            assert day.out_of_reach(work, replace(manager, code=WANG_JIAN)) == [], "nobody is told of himself"
        with firm.database.work(WHOLE) as work:
            people.link(work, Account("web", "w1", "w1", WANG_JIAN), START)
        assert len(told(firm)) == 1, "a page reaches nobody before it is opened"
        with firm.database.work(WHOLE) as work:
            people.link(work, Account("wecom", "wangjian", "wangjian", WANG_JIAN), START)
        assert told(firm) == []


async def test_it_stands_in_the_days_alert_and_in_the_groups_summary(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep, manager = firm.link(WANG_JIAN, 501), firm.link(MANAGER_WU, 502)
        await rep.sends(updates.member_change("kicked", rep.person))
        await firm.time_passes(START.replace(hour=18) + timedelta(minutes=1))
        alert = await manager.hears("今日异常预警")
        assert alert.splitlines()[-1].startswith("📵 1 人收不到消息")
        with firm.database.read(WHOLE) as work:
            staff = people.staff(work)
            wu = next(person for person in staff if person.code == MANAGER_WU)
            lines = group_digest.summary(work, wu, staff, START.date())
            assert alerts.findings_for(work, wu, staff, START.date(), firm.tools.limits)
        assert sentence(load("zh-CN"), lines[-1]) == told(firm)[0]


def test_a_reason_of_a_later_version_has_a_sentence() -> None:
    assert out_of_reach.why_key("of a later version") == "undelivered.failed"
    assert out_of_reach.why_key("blocked") == "undelivered.blocked"
