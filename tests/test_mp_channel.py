"""公众号 when things go wrong: slow turns and retries, refused pushes, files that do not come, hostile callbacks."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import bot.intake
import bot.sender
from bot.loopback.platform import Trouble
from bot.stand_in import made_photo
from handlers.messages import Reply, Say
from handlers.turn import outgoing
from nlp.transcribe import Transcript
from rules.visit import State
from storage import outbox, people, push_budget
from storage.tables.visits import FollowUpRow
from tests.databases import WHOLE, keep_others_waiting
from tests.mpfirm import MpFirm, Phone, clip, fast, push, running, spent
from tests.telegramfirm import MANAGER_WU, START, SUN_HAO, WANG_JIAN

OPENID = "oWangJian_01"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second tries are looked for often, so that a fast clock makes them soon."""
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)


# --- answers and the platform's repeats


async def test_an_answer_comes_in_the_same_breath_and_costs_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        for _ in range(8):
            assert "定位" in await rep.says("帮助")
        assert not rep.pushed()
        assert spent(firm, rep).message == 5


async def test_a_repeat_of_the_same_message_gets_the_stored_answer_even_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        message = firm.platform.messages.text(rep.openid, "帮助", at=rep.at)
        await rep.sends(message)
        await rep.sends(message)
        await firm.app.stop()
        firm.app = firm.make_app()
        await firm.app.start()
        await rep.sends(message)
        assert len(set(rep.passive)) == 1
        assert len(rep.passive) == 3
        assert len(firm.inbox()) == 1
        assert len(firm.outbox()) == 1


async def test_a_turn_slower_than_the_window_is_acknowledged_and_answered_later(tmp_path: Path) -> None:
    async with running(tmp_path, **fast()) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        firm.platform.trouble("media/get", Trouble(slow_s=2.0))
        attempts = await rep.sends(firm.platform.messages.image(rep.openid, _photo(firm), at=rep.at))
        assert [one.body for one in attempts] == ["success"]
        assert attempts[0].seconds < 1.2
        [later] = rep.pushed()
        assert "门头照已收" in later
        assert spent(firm, rep).message == 4
        assert len(firm.visits()[0].ids("photo")) == 1


async def test_who_may_only_answer_does_so_on_the_repeat(tmp_path: Path) -> None:
    async with running(tmp_path, passive_only=True, **fast()) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        firm.platform.trouble("media/get", Trouble(slow_s=1.8))
        attempts = await rep.sends(firm.platform.messages.image(rep.openid, _photo(firm), at=rep.at))
        assert [one.status for one in attempts] in ([None, 200], [None, None, 200])  # the platform asks three times
        assert "门头照已收" in rep.passive[-1]
        assert [one.state for one in firm.outbox()] == ["sent", "sent"]
        assert len(firm.inbox()) == 2


async def test_after_three_tries_the_answer_waits_for_the_next_message_and_that_is_said(tmp_path: Path) -> None:
    async with running(tmp_path, passive_only=True, **fast()) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        firm.platform.trouble("media/get", Trouble(slow_s=5.0))
        attempts = await rep.sends(firm.platform.messages.image(rep.openid, _photo(firm), at=rep.at))
        assert [one.status for one in attempts] == [None, None, 200]
        assert "还在处理" in rep.passive[-1]
        assert "查看" in rep.passive[-1]
        assert [one.state for one in firm.outbox()] == ["sent", "waiting"]
        assert "门头照已收" in await rep.says("查看")
        assert {one.state for one in firm.outbox()} == {"sent"}
        assert "没有等着您的新消息" not in rep.read()


class Slow:
    """A recogniser that has much to do."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def transcribe(self, audio: bytes, hints: object) -> Any:
        self.done.wait(20)
        return Transcript("老板要了五箱小酥肉，价格有优势", (), 0.9, "slow", 5.0, ())


async def test_who_asks_too_early_is_told_that_it_is_still_being_listened_to(tmp_path: Path) -> None:
    ear = Slow()
    async with running(tmp_path, ear, passive_only=True) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        media = firm.platform.put_media(clip("note00.amr"), "audio/amr")
        made = firm.platform.messages
        await rep.sends(made.voice(rep.openid, media, at=rep.at), settle=False)
        assert "回复「查看」" in rep.passive[-1]
        await rep.sends(made.text(rep.openid, "查看", at=rep.at), settle=False)
        assert "正在听" in rep.passive[-1]
        assert "回复「查看」" in rep.passive[-1]
        ear.done.set()
        await firm.idle()
        assert "金牌小酥肉 5箱" in await rep.says("查看")


async def test_several_that_waited_come_as_one_answer_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path, passive_only=True) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        for words in ("甲的提醒", "乙的提醒"):
            push(firm, rep, words)
        await firm.idle()
        assert [one.state for one in firm.outbox()] == ["waiting", "waiting"]
        answer = await rep.says("我的待办")
        assert answer.index("甲的提醒") < answer.index("乙的提醒") < answer.index("没有待办")
        assert answer.count("补发") == 2
        assert "没有主动发消息的权限" in answer
        assert {one.state for one in firm.outbox()} == {"sent"}


async def test_what_does_not_fit_one_answer_comes_with_the_next(tmp_path: Path) -> None:
    async with running(tmp_path, passive_only=True) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        push(firm, rep, "\n".join(f"第{number}行：{'很长' * 20}" for number in range(60)), "alert")
        await firm.idle()
        for _ in range(10):
            await rep.says("查看")
        whole = "\n".join(rep.passive)
        assert [f"第{number}行" in whole for number in range(60)] == [True] * 60
        assert whole.count("第7行：") == 1
        assert "回复「查看」接着看" in rep.passive[0]
        assert "回复「查看」接着看" not in rep.passive[-1]
        assert {one.state for one in firm.outbox()} == {"sent"}


async def test_messages_at_once_are_all_answered_in_their_own_breath(tmp_path: Path) -> None:
    async with running(tmp_path, times={"window": 2.0}) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        made = firm.platform.messages
        words = ("帮助", "我的待办", "我的拜访")
        await asyncio.gather(*(rep.sends(made.text(rep.openid, one, at=rep.at)) for one in words))
        said = "\n".join(rep.passive)
        assert [said.count(one) for one in ("随时可以说", "没有待办", "今天还没有拜访")] == [1, 1, 1]
        assert not rep.pushed()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("seconds", "more"), [(1.8, fast()), (4.7, {})], ids=["hung up on", "not acknowledged"])
async def test_a_slow_database_costs_a_repeat_and_no_message(
    tmp_path: Path, seconds: float, more: dict[str, Any]
) -> None:
    async with running(tmp_path, **more) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with firm.database.work(WHOLE) as work:
                keep_others_waiting(work)
                held.set()
                free.wait(9)

        blocking = asyncio.create_task(asyncio.to_thread(hold))  # noqa: TID251 - beside the bot
        await asyncio.to_thread(held.wait)
        asyncio.get_running_loop().call_later(seconds, free.set)
        attempts = await rep.sends(firm.platform.messages.text(rep.openid, "帮助", at=rep.at))
        await blocking
        assert attempts[0].status == (None if more else 503)
        assert attempts[0].seconds < 5
        assert attempts[-1].status == 200
        assert len(firm.inbox()) == 1
        assert rep.read().count("结束拜访") >= 1
        assert len([one for one in firm.outbox() if one.state == "sent"]) == 1


async def test_what_a_rep_writes_cannot_leave_its_place_in_the_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        evil = "]]></Content><ToUserName>oEvil</ToUserName><Content><![CDATA[小酥肉"
        push(firm, rep, f"客户说：{evil}\x07 & <b>")
        await firm.idle()
        answer = await rep.says("帮助")  # whose envelope is checked field by field
        assert f"客户说：{evil} & <b>" in answer


# --- files


async def test_a_file_that_is_gone_is_told_and_the_clearer_sound_is_no_must(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        made = firm.platform.messages
        await rep.sends(made.image(rep.openid, "MEDIA-of-last-week", at=rep.at).replace("http://127.0.0.1/pic", ""))
        assert "已过期" in rep.passive[-1]
        assert not firm.visits()[0].ids("photo")
        sound = firm.platform.put_media(clip("note00.amr"), "audio/amr")
        await rep.sends(made.voice(rep.openid, sound, at=rep.at, wide="WIDE-that-is-gone"))
        assert "已收到" in rep.passive[-1]
        asked = [call.params["media_id"] for call in firm.platform.calls if call.path == "media/get"]
        assert asked == ["MEDIA-of-last-week", "WIDE-that-is-gone", sound]


async def test_without_the_right_to_files_that_is_said_and_pictures_come_by_their_address(tmp_path: Path) -> None:
    async with running(tmp_path, passive_only=True, secret=False) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        sound = firm.platform.messages.voice(rep.openid, "MEDIA1", at=rep.at)
        await rep.sends(sound)
        assert "没有取语音和图片的权限" in rep.passive[-1]
        strange = firm.platform.messages.image(rep.openid, "MEDIA2", at=rep.at)
        await rep.sends(strange.replace("http://127.0.0.1/pic", "http://169.254.169.254/latest"))
        assert "没有取语音和图片的权限" in rep.passive[-1]
        assert not firm.platform.calls


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("trouble", [Trouble(half=True), Trouble(cut=True), Trouble(status=502)])
async def test_a_file_that_breaks_off_is_fetched_again_whole(tmp_path: Path, trouble: Trouble) -> None:
    async with running(tmp_path, speed=60) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.pins()
        firm.platform.trouble("media/get", trouble)
        await rep.photographs()
        [visit] = firm.visits()
        assert len(visit.ids("photo")) == 1
        assert "门头照已收" in rep.read()


async def test_a_file_for_somebody_comes_as_a_link(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await rep.says("帮助")
        content = firm.tools.files.put(b"PK\x03\x04 an Excel file")
        with firm.database.work(WHOLE) as work:
            account = people.account(work, "mp", rep.openid)
            assert account is not None
            reply = Reply(Say("as_is", {"text": "上周的数字"}), attach=content, attach_name="周报.xlsx")
            outbox.queue(work, outgoing(account, reply, firm.clock(), "test:file"))
        firm.app.sender.wake()
        await firm.idle()
        assert rep.pushed()[-1].startswith("上周的数字\n📎 周报.xlsx：https://firm.example/files/1")
        assert firm.links == [(b"PK\x03\x04 an Excel file", "周报.xlsx")]


# --- who comes in


async def test_an_invite_by_code_or_typed_ties_once_and_strangers_get_no_data(tmp_path: Path) -> None:
    async with running(tmp_path, times={"window": 1.5}) as firm:
        made = firm.platform.messages

        def invite(code: str) -> str:
            with firm.database.work(WHOLE) as work:
                return people.make_invite(work, code, firm.clock())

        first, second, third = invite(WANG_JIAN), invite(SUN_HAO), invite(MANAGER_WU)
        url = await firm.channel.invite_code(first)
        assert firm.platform.codes[url] == first
        wang, sun, wu = (firm.stranger(f"oPerson_{number}") for number in range(3))
        nobody = firm.stranger("oNobodyAtAll")
        await nobody.says("柯桥老灶台酒家欠多少钱")
        await wang.sends(made.event(wang.openid, "subscribe", at=wang.at, EventKey=f"qrscene_{first}", Ticket="T"))
        assert "王建" in wang.passive[-1]
        await sun.sends(made.event(sun.openid, "SCAN", at=sun.at, EventKey=second, Ticket="T"))
        assert "孙浩" in sun.passive[-1]
        assert "吴经理" in await wu.says(firm.channel.invite_link(third))
        await nobody.sends(made.event(nobody.openid, "SCAN", at=nobody.at, EventKey=first, Ticket="T"))
        await nobody.photographs()
        assert len(nobody.passive) == 1, "the same refusal is not said twice a day"
        assert "老灶台" not in nobody.read()
        assert firm.platform.count("media/get") == 0
        with firm.database.read(WHOLE) as work:
            assert len(people.accounts(work)) == 3
            assert push_budget.budget(work, "mp", nobody.openid, firm.clock()).left == 0
        await wang.sends(made.event(wang.openid, "unsubscribe", at=wang.at + 1, EventKey=""))
        with firm.database.read(WHOLE) as work:
            account = people.account(work, "mp", wang.openid)
        assert account is not None
        assert not account.reachable
        await wang.sends(made.event(wang.openid, "subscribe", at=wang.at + 2, EventKey=""))
        assert "王建" in wang.passive[-1]


# --- what may come in


async def test_nothing_that_comes_in_is_answered_with_500(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        made, signer = firm.platform.messages, firm.platform.signer
        odd = [
            made.location(rep.openid, 200, 500, at=rep.at),
            made.location(rep.openid, float("nan"), 1, at=rep.at),
            made.position(rep.openid, 30, 120, -5, at=rep.at),
            made.message(rep.openid, "location", rep.at, Location_X="north", Location_Y=""),
            made.message(rep.openid, "hologram", rep.at, MediaId="x"),
            made.message(rep.openid, "image", rep.at),
            made.message(rep.openid, "voice", rep.at, MediaId="a b\tc"),
            made.text(rep.openid, "", at=rep.at),
            made.text("<script>", "帮助", at=rep.at),
            made.text("", "帮助", at=rep.at),
            made.event(rep.openid, "kf_create_session", at=rep.at, KfAccount="a@b"),
            made.event(rep.openid, "CLICK", at=rep.at, EventKey="no_such_command"),
            made.event(rep.openid, "VIEW", at=rep.at, EventKey="https://example.com"),
            made.event(rep.openid, "subscribe_msg_popup_event", at=rep.at, raw="<SubscribeMsgPopupEvent/>"),
            made.event(rep.openid, "pic_weixin", at=rep.at, raw="<SendPicsInfo><PicList/><PicList/></SendPicsInfo>"),
            "<xml><MsgType>text</MsgType></xml>",
            "<xml><MsgType>text</MsgType><MsgType>text</MsgType><FromUserName>oWangJian_01</FromUserName></xml>",
            f"<xml><FromUserName>{rep.openid}</FromUserName><CreateTime>soon</CreateTime><MsgType>text</MsgType></xml>",
            f"<xml><FromUserName>{rep.openid}</FromUserName><CreateTime>99999999999</CreateTime>"
            "<MsgType>text</MsgType><Content>x</Content><MsgId>1</MsgId></xml>",
            f"<xml><FromUserName><a>{rep.openid}</a></FromUserName><MsgType>event</MsgType><Event/></xml>",
        ]
        statuses = {attempt.status for xml in odd for attempt in await rep.sends(xml)}
        assert statuses == {200}
        before = len(firm.inbox())
        hostile: list[tuple[dict[str, str], bytes]] = [
            ({}, b""),
            signer.seal("<xml/>"),
            signer.seal("no xml"),
            signer.seal(made.text(rep.openid, "帮助"), signature="0" * 40),
            signer.seal(made.text(rep.openid, "帮助"), timestamp=1_600_000_000),
            signer.plain(made.text(rep.openid, "帮助")),
            (signer.seal("<xml/>")[0], b"x" * 10_000_000),
        ]
        for query, body in hostile:
            attempt = await firm.platform.post(firm.url, query, body)
            assert attempt.status in (400, 403, None)
        assert len(firm.inbox()) == before
        assert not firm.visits()
        assert "定位" in await rep.says("帮助")


async def test_the_address_is_verified_with_the_bare_echo(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        good = await firm.platform.verify(firm.url, firm.platform.signer.plain_echo("5837397"))
        assert (good.status, good.body) == (200, "5837397")
        bad: dict[str, Any] = {**firm.platform.signer.plain_echo("5837397"), "signature": "f" * 40}
        assert (await firm.platform.verify(firm.url, bad)).status == 403


async def test_messages_of_the_same_second_keep_their_order_and_each_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        made = firm.platform.messages
        at = rep.at
        clicks = [made.event(rep.openid, "CLICK", at=at, EventKey=key) for key in ("help", "todos")]
        for xml in (*clicks, *clicks):
            await rep.sends(xml)
        assert len(firm.inbox()) == 2
        assert len(rep.passive) == 4
        assert rep.passive[:2] == rep.passive[2:]


async def test_a_number_answers_what_it_stands_below_even_when_two_questions_are_open(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await price_too_high(rep)
        await rep.pins()
        await rep.photographs()
        card = await rep.says("解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势")
        assert "1 确认" in card
        await firm.time_passes(START + timedelta(days=1, hours=23, minutes=45))
        [reminder] = rep.pushed()
        assert "1 完成" not in reminder.splitlines()
        number = reminder.partition("-1 完成")[0].split()[-1]
        answer = await rep.says(f"{number}－１")
        assert "完成" in answer
        assert [visit.state for visit in firm.visits()] == [State.CLOSED, State.OPEN]
        await rep.says("1")
        assert [visit.state for visit in firm.visits()] == [State.CLOSED, State.CLOSED]


async def test_a_reminder_stays_answerable_in_words_when_something_newer_is_asked(tmp_path: Path) -> None:
    """提醒之后又问了别的：打「完成」照样算数；拿不准是哪件事，就把提醒再拿出来问。"""
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await price_too_high(rep)
        await firm.time_passes(START + timedelta(days=1, hours=23, minutes=45))
        assert any("1 完成" in text for text in rep.pushed())
        asked = await rep.says("我的拜访")  # something newer
        assert "完成" not in asked
        await rep.pins()  # and newer still: a visit, whose end 完成 could mean
        again = await rep.says("做完了")
        assert "1 完成" in again
        assert todo_states(firm) == ["open"]
        assert "丢" in await rep.says("3")
        assert todo_states(firm) == ["lost"]
        assert [visit.state for visit in firm.visits()][-1] is State.OPEN


async def test_a_label_alone_answers_the_one_reminder_below_a_closed_visit(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, OPENID)
        await price_too_high(rep)
        await firm.time_passes(START + timedelta(days=1, hours=23, minutes=45))
        await rep.pins()
        await rep.photographs()
        await rep.says("解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势")
        assert "撤销" in await rep.says("确认")  # the newest question is the closed visit's
        assert "完成" in await rep.says("已完成")
        assert todo_states(firm)[0] == "done"
        assert "1 完成" not in await rep.says("已完成")  # nothing left to answer so


async def price_too_high(rep: Phone) -> None:
    """A visit to its end, with a 待办 for the day after tomorrow at half past ten."""
    await rep.pins()
    await rep.photographs()
    await rep.says("解决了送货迟到的问题，他嫌价格太贵，后天上午十点半再约")
    await rep.says("确认")


def todo_states(firm: MpFirm) -> list[str]:
    with firm.database.read(WHOLE) as work:
        return [str(state) for state in work.session.scalars(select(FollowUpRow.state).order_by(FollowUpRow.id))]


def _photo(firm: MpFirm) -> str:
    return firm.platform.put_media(made_photo("门头"), "image/jpeg")
