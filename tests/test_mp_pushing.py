"""公众号 pushes: within the budget, as templates beyond it, and what each refusal of the platform means."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

import bot.intake
import bot.sender
from bot.loopback.platform import Trouble
from handlers.messages import Reply, Say
from handlers.turn import outgoing
from storage import outbox, people
from tests.databases import WHOLE
from tests.mpfirm import REMINDER, clip, push, row, running, spent
from tests.telegramfirm import WANG_JIAN

OPENID = "oWangJian_01"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second tries are looked for often, so that a fast clock makes them soon."""
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)


async def test_the_budget_is_kept_and_a_message_renews_it(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        for number in range(7):
            push(firm, rep, f"提醒{number}")
            await firm.idle()
        assert rep.pushed() == [f"提醒{number}" for number in range(5)]
        assert [one.state for one in firm.outbox()][-2:] == ["waiting", "waiting"]
        assert firm.platform.count("message/custom/send") == 5
        answer = await rep.says("帮助")
        assert "提醒5" in answer
        assert "提醒6" in answer
        assert "条数已经用完" in answer
        assert spent(firm, rep).message == 5


async def test_after_a_click_three_in_a_minute(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.sends(firm.platform.messages.event(rep.openid, "CLICK", at=rep.at, EventKey="help"))
        assert "结束拜访" in rep.passive[-1]
        assert (spent(firm, rep).message, spent(firm, rep).action) == (0, 3)
        firm.clock.moved += timedelta(seconds=61)
        push(firm, rep, "太晚")
        await firm.idle()
        assert not rep.pushed()
        assert firm.outbox()[-1].error == "shut:window"


@pytest.mark.parametrize(("errcode", "reason"), [(45015, "window"), (45047, "count")])
async def test_the_platform_counts_otherwise_and_is_believed(tmp_path: Path, errcode: int, reason: str) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        firm.platform.trouble("message/custom/send", Trouble(errcode=errcode))
        first = push(firm, rep, "一")
        await firm.idle()
        second = push(firm, rep, "二")
        await firm.idle()
        assert row(firm, first).error.startswith(f"shut:{reason}: errcode {errcode}")
        assert row(firm, second).error == f"shut:{reason}"
        assert firm.platform.count("message/custom/send") == 1
        assert "一" in await rep.says("帮助")


@pytest.mark.usefixtures("quick")
async def test_who_no_longer_follows_is_out_of_reach(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        firm.platform.followers.clear()
        number = push(firm, rep, "还在吗")
        await firm.idle()
        assert row(firm, number).state == "failed"
        with firm.database.read(WHOLE) as work:
            account = people.account(work, "mp", rep.openid)
        assert account is not None
        assert not account.reachable


async def test_without_the_right_to_push_the_answers_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        firm.platform.trouble("message/custom/send", Trouble(errcode=48001, times=9))
        for words in ("一", "二", "三"):
            push(firm, rep, words)
            await firm.idle()
        assert firm.platform.count("message/custom/send") == 1
        answer = await rep.says("我的待办")
        assert [word in answer for word in ("一", "二", "三", "没有这项接口权限")] == [True] * 4
        await rep.pins()
        assert "回复「查看」" in await rep.speaks(clip("note00.amr"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("trouble", "cost"),
    [
        pytest.param(Trouble(errcode=-1), 1, id="busy"),
        pytest.param(Trouble(errcode=45011), 1, id="too fast"),
        pytest.param(Trouble(status=502), 2, id="502"),  # it may have been sent, so it is counted
        pytest.param(Trouble(cut=True), 2, id="cut"),
        pytest.param(Trouble(errcode=42001), 1, id="token over"),
    ],
)
async def test_passing_trouble_loses_nothing_and_keeps_the_order(tmp_path: Path, trouble: Trouble, cost: int) -> None:
    async with running(tmp_path, speed=60) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        firm.platform.trouble("message/custom/send", trouble)
        push(firm, rep, "一")
        await firm.idle()
        push(firm, rep, "二")
        await firm.idle()
        assert rep.pushed() == ["一", "二"]
        assert spent(firm, rep).message == 5 - cost - 1
        assert {one.state for one in firm.outbox()} == {"sent"}


async def test_two_reminders_are_two_templates(tmp_path: Path) -> None:
    async with running(tmp_path, templates={"reminder": REMINDER}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        with firm.database.work(WHOLE) as work:
            account = people.account(work, "mp", rep.openid)
            assert account is not None
            for outlet in ("老灶台", "阿福面馆"):
                reply = Reply(Say("as_is", {"text": f"去{outlet}", "outlet": outlet}))
                outbox.queue(work, outgoing(account, reply, firm.clock(), f"test:{outlet}", intent="reminder"))
        firm.app.sender.wake()
        await firm.idle()
        assert [one.partition(" · ")[0] for one in rep.pushed()] == ["老灶台", "阿福面馆"]


async def test_a_template_that_did_not_arrive_comes_with_the_next_message(tmp_path: Path) -> None:
    async with running(tmp_path, templates={"reminder": REMINDER}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        number = push(firm, rep, "去看看老灶台")
        await firm.idle()
        assert rep.pushed()
        assert row(firm, number).provider_id == f"template:{firm.platform.sent[0]['msgid']}"
        fate = firm.platform.messages.event(
            rep.openid,
            "TEMPLATESENDJOBFINISH",
            at=rep.at,
            MsgID=str(firm.platform.sent[0]["msgid"]),
            Status="failed:user block",
        )
        assert [one.body for one in await rep.sends(fate)] == ["success"]
        await firm.platform.until(lambda: row(firm, number).state == "waiting")
        answer = await rep.says("帮助")
        assert "去看看老灶台" in answer
        assert "关掉了公众号的消息" in answer


@pytest.mark.usefixtures("quick")
async def test_row_19_a_template_whose_answer_was_lost_is_repeated_under_the_same_key(tmp_path: Path) -> None:
    async with running(tmp_path, speed=60, templates={"reminder": REMINDER}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        firm.platform.trouble("message/template/send", Trouble(cut=True, done=True))
        push(firm, rep, "去看看老灶台")
        await firm.idle()
        calls = [call.json for call in firm.platform.calls if call.path == "message/template/send"]
        assert len(calls) == 2
        assert calls[0]["client_msg_id"] == calls[1]["client_msg_id"] == f"zoudian-{firm.outbox()[0].id}"
        assert set(calls[0]["data"]) == {"thing1", "time2", "thing3"}


async def test_row_16_nothing_to_say_is_a_bare_success(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        opened = firm.platform.messages.event(rep.openid, "VIEW", at=rep.at, EventKey="https://firm.example")
        assert [(one.status, one.body) for one in await rep.sends(opened)] == [(200, "success")]


async def test_a_refused_template_is_told_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, templates={"reminder": REMINDER}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        firm.platform.trouble("message/template/send", Trouble(errcode=40037))
        number = push(firm, rep, "去看看老灶台")
        await firm.idle()
        assert row(firm, number).error.startswith("shut:template")
        assert "40037" in caplog.text
        assert "去看看老灶台" in await rep.says("帮助")


async def test_a_subscription_is_used_once_for_each_tick(tmp_path: Path) -> None:
    template = type(REMINDER)(REMINDER.template_id, "subscribe", REMINDER.fields)
    async with running(tmp_path, templates={"reminder": template}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)

        async def box(event: str, status: str) -> None:
            raw = (
                f"<{event}><List><TemplateId>{template.template_id}</TemplateId>"
                f"<SubscribeStatusString>{status}</SubscribeStatusString></List></{event}>"
            )
            name = "subscribe_msg_popup_event" if "Popup" in event else "subscribe_msg_change_event"
            await rep.sends(firm.platform.messages.event(rep.openid, name, at=rep.at, raw=raw))
            await asyncio.sleep(0.1)

        await box("SubscribeMsgPopupEvent", "accept")
        firm.platform.agreed.append((rep.openid, template.template_id))
        for words in ("一", "二"):
            push(firm, rep, words)
            await firm.idle()
        assert [one.state for one in firm.outbox()] == ["sent", "waiting"]
        assert firm.platform.count("message/subscribe/bizsend") == 1
        firm.clock.moved += timedelta(seconds=5)
        await box("SubscribeMsgPopupEvent", "accept")
        firm.clock.moved += timedelta(seconds=5)
        await box("SubscribeMsgChangeEvent", "reject")
        push(firm, rep, "三")
        await firm.idle()
        assert firm.platform.count("message/subscribe/bizsend") == 1
