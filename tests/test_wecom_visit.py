"""A whole visit over 企业微信: the running bot, the real library, real AES callbacks, a real recogniser."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

import bot.intake
import bot.sender
from bot.loopback.platform import Trouble
from bot.wiring import TEST_MODEL
from nlp.speech_process import SpeechProcess
from reports.day import undelivered_of_day
from rules.evidence import Level, Place, PlaceKind
from rules.places import Point, metres_between
from rules.visit import State
from storage import evidence, people
from storage.inbox import Delivery
from tests.databases import WHOLE
from tests.telegramfirm import SHOP, START
from tests.wecomfirm import CLIPS, Phone, WecomFirm, running
from texts import load

WON_NOTE = "解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势"
LOST_NOTE = "解决了送货迟到的问题，他嫌价格太贵，后天上午十点半再约"
CORNER = (29.97126, 120.58034)  # the door of C0017, an outlet of 周洋


@pytest.fixture(scope="module")
def recogniser() -> Iterator[SpeechProcess]:
    with SpeechProcess(TEST_MODEL) as process:
        process.warm()
        yield process


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second tries are looked for often, so that a fast clock makes them soon."""
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)


def place_of(firm: WecomFirm) -> Place:
    number = firm.visits()[0].value("place")
    assert isinstance(number, int)
    with firm.database.read(WHOLE) as work:
        return evidence.places(work, [number])[number]


async def typed_visit(rep: Phone, note: str = WON_NOTE) -> None:
    await rep.sends(rep.pin())
    await rep.sends(rep.photo())
    await rep.says(note)


@pytest.mark.recogniser
async def test_a_visit_takes_five_actions_and_no_invite(tmp_path: Path, recogniser: SpeechProcess) -> None:
    async with running(tmp_path, recogniser) as firm:
        rep = firm.member("ZhouYang")
        await rep.sends(rep.report(CORNER))
        rep.acts = 0  # the app reports by itself
        await rep.sends(rep.pin(CORNER))
        await rep.sends(rep.photo())
        firm.clock.moved += timedelta(minutes=27)
        await rep.sends(rep.voice(CLIPS / "note00.amr"))
        assert any("拜访小结" in text for text in rep.texts())
        await rep.taps("确认")
        await rep.says("担心炸品送来化冻")
        visit, *others = firm.visits()
        assert not others
        assert rep.acts == 5
        assert (visit.state, visit.outlet, visit.rep) == (State.CLOSED, "C0017", "E104")
        assert visit.value("orders") == [["P004", 6, "箱"], ["P003", 10, "包"]]
        assert visit.grade is not None
        assert visit.grade.level is Level.VERIFIED, "the app's own report stands behind the pin"
        assert [(account.channel, account.user_ref) for account in firm.accounts()] == [("wecom", "zhouyang")]
        assert "拜访已记录" in "".join(rep.texts())
        await firm.platform.until(lambda: any(card["shown"] == "已提交" for card in firm.platform.cards.values()))
        assert not firm.platform.dropped
        assert not firm.platform.swallowed


async def test_a_pin_alone_is_no_device_fix_and_lies_within_five_metres_of_the_truth(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await typed_visit(rep)
        await rep.taps("确认")
        place = place_of(firm)
        assert place.kind is PlaceKind.PIN
        assert metres_between(place.point, Point(*SHOP)) < 5
        grade = firm.visits()[0].grade
        assert grade is not None
        assert grade.level is not Level.VERIFIED


async def test_what_the_app_reports_stands_behind_a_pin_at_the_same_spot_only(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        here, elsewhere = firm.member("wangjian"), firm.member("sunhao")
        await here.sends(here.report())
        assert not firm.visits(), "opening the app is no visit"
        assert not here.texts(), "and nobody is spoken to"
        await here.sends(here.pin())
        place = place_of(firm)
        assert (place.kind, place.accuracy_m) == (PlaceKind.REPORT, 12.0)
        assert metres_between(place.point, Point(*SHOP)) < 5
        await elsewhere.sends(elsewhere.report((SHOP[0] + 0.02, SHOP[1])))
        await elsewhere.sends(elsewhere.pin())
        number = firm.visits()[1].value("place")
        with firm.database.read(WHOLE) as work:
            assert evidence.places(work, [number])[number].kind is PlaceKind.PIN  # type: ignore[index,list-item]
        await elsewhere.sends(elsewhere.report())
        number = firm.visits()[1].value("place")
        with firm.database.read(WHOLE) as work:
            assert evidence.places(work, [number])[number].kind is PlaceKind.REPORT  # type: ignore[index,list-item]


async def test_the_reminder_comes_and_one_tap_ends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("WangJian")
        await typed_visit(rep, LOST_NOTE)
        await rep.taps("确认")
        await firm.time_passes(START + timedelta(days=2))
        assert "柯桥老灶台酒家" in await rep.hears("⏰")
        await firm.idle()
        assert "柯桥老灶台酒家" in (await rep.taps("完成"))[-1]


async def test_the_alert_is_ticked_several_at_once_and_shows_the_last_visits(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep, manager = firm.member("wangjian"), firm.member("WuJingLi")
        await manager.sends(firm.platform.messages.event("WuJingLi", "enter_agent", at=manager.at, EventKey=""))
        assert "吴经理" in manager.texts()[0], "who opens the app for the first time is greeted"
        for _ in range(2):
            await typed_visit(rep)
            await rep.taps("确认")
        await firm.time_passes(START.replace(hour=18, minute=1))
        await manager.hears("今日异常预警")
        await firm.idle()
        card = firm.platform.newest_card("wujingli")
        labels = [option["text"] for option in card["checkbox"]["option_list"]]
        assert card["checkbox"]["mode"] == 1
        assert len(labels) >= 2
        shown = "\n".join(await manager.taps(*labels))
        assert "柯桥老灶台酒家" in shown
        assert "孙浩" in shown or "王建" in shown
        again = "\n".join(await manager.taps(labels[0]))
        assert "柯桥" in again, "an alert may be looked into as often as one likes"


@pytest.mark.parametrize("kind", ["photo", "text", "tap"])
async def test_three_deliveries_are_applied_once(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await rep.sends(rep.pin())
        await rep.sends(rep.photo())
        if kind == "tap":
            await rep.says(WON_NOTE)
        xml = {
            "photo": lambda: rep.photo("货架"),
            "text": lambda: firm.platform.messages.text("wangjian", WON_NOTE, at=rep.at),
            "tap": lambda: firm.platform.tap("wangjian", "确认", at=rep.at),
        }[kind]()
        before = len(rep.texts())
        answers = [await firm.platform.push_once(firm.url, xml) for _ in range(3)]
        await firm.idle()
        assert [answer.status for answer in answers] == [200] * 3
        assert [answer.body for answer in answers] == [""] * 3
        first = len(rep.texts()) - before
        assert sum(row.state == "done" for row in firm.inbox()) == len(firm.inbox())
        assert len({row.delivery_key for row in firm.inbox()}) == {"photo": 3, "text": 3, "tap": 4}[kind]
        assert first == len(rep.texts()) - before
        assert len(firm.visits()) == 1


async def test_it_answers_within_five_seconds_while_the_database_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform is told to come again, the storing goes on, and the message is there once."""
    async with running(tmp_path, store_s=0.3) as firm:
        rep = firm.member("wangjian")
        intake = firm.app.intake
        store = intake._store_all
        slow = [0.5]

        def slowly(deliveries: list[Delivery]) -> list[int | None]:
            if slow:
                threading.Event().wait(slow.pop())
            return store(deliveries)

        monkeypatch.setattr(intake, "_store_all", slowly)
        began = time.monotonic()
        answers = await rep.sends(firm.platform.messages.text("wangjian", "帮助", at=rep.at))
        assert time.monotonic() - began < 5
        assert all(answer.seconds < 0.5 for answer in answers)
        assert answers[0].status == 503
        assert answers[-1].status == 200
        assert len(firm.inbox()) == 1
        assert len(rep.texts()) == 1


async def test_what_is_not_taken_is_told_politely_and_what_asks_for_nothing_is_silent(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep, messages = firm.member("wangjian"), firm.platform.messages
        await rep.says("帮助")
        before = len(rep.texts())
        for xml in (messages.video("wangjian", "M1", at=rep.at), messages.link("wangjian", "x", "http://x", at=rep.at)):
            await rep.sends(xml)
        assert len(rep.texts()) == before + 2
        for name, fields in (
            ("enter_agent", {"EventKey": ""}),
            ("view", {"EventKey": "http://x"}),
            ("pic_sysphoto", {"EventKey": "p"}),
            ("location_select", {"EventKey": "l"}),
            ("batch_job_result", {}),
            ("never_heard_of", {}),
            ("click", {"EventKey": "not of ours"}),
        ):
            assert [one.status for one in await rep.sends(messages.event("wangjian", name, at=rep.at, **fields))] == [
                200
            ]
        assert len(rep.texts()) == before + 2
        assert "dead" not in {row.state for row in firm.inbox()}
        assert len(firm.inbox()) == 10
        assert not firm.visits()


async def test_a_menu_entry_is_a_command(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        typed = await rep.says("我的待办")
        await rep.sends(firm.platform.messages.event("wangjian", "click", at=rep.at, EventKey="todos"))
        assert rep.texts()[-1] == typed[-1]


async def test_who_left_or_is_not_named_gets_no_data_and_nothing_of_theirs_is_fetched(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        for userid in ("heping", "MoShengRen"):
            firm.platform.members.add(userid.lower())
            stranger = firm.member(userid)
            await stranger.sends(stranger.photo())
            await stranger.says("柯桥老灶台酒家欠多少钱")
            await stranger.sends(stranger.report())
            assert len(stranger.texts()) == 1
            assert "老灶台" not in stranger.texts()[0]
            assert userid.lower() in stranger.texts()[0], "what operations have to enter"
        assert firm.platform.count("media/get") == 0
        assert not firm.accounts()
        assert {(row.state, row.message is None) for row in firm.inbox()} == {("ignored", True)}


async def test_an_account_that_the_import_gives_to_somebody_else_is_theirs(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await rep.says("帮助")
        with firm.database.work(WHOLE) as work:
            staff = {person.code: person for person in people.staff(work)}
            people.save_employees(work, [replace(staff["E101"], wecom=""), replace(staff["E102"], wecom="wangjian")])
        assert [account.reachable for account in firm.accounts()] == [False], "nothing of E101 is pushed there any more"
        assert "孙浩" in "".join(await rep.says("开始"))
        assert [(account.employee, account.reachable) for account in firm.accounts()] == [("E102", True)]


async def test_leaving_the_visible_range_and_coming_back(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await rep.says("帮助")
        await rep.sends(firm.platform.messages.event("wangjian", "unsubscribe", at=rep.at))
        assert not firm.accounts()[0].reachable
        await rep.sends(firm.platform.messages.event("wangjian", "subscribe", at=rep.at + 1))
        assert firm.accounts()[0].reachable
        assert "王建" in rep.texts()[-1]


async def test_who_cannot_be_reached_is_surfaced_with_the_reason_and_not_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await typed_visit(rep, LOST_NOTE)
        await rep.taps("确认")
        firm.platform.members.discard("wangjian")
        firm.platform.members.add("somebody else")
        await firm.time_passes(START + timedelta(days=2))
        await firm.platform.until(lambda: firm.outbox()[-1].state == "failed")
        assert not firm.accounts()[0].reachable
        with firm.database.read(WHOLE) as work:
            manager = people.employee(work, "E002")
            assert manager is not None
            day = firm.clock().astimezone(firm.tools.zone).date()
            told = undelivered_of_day(work, manager, day, firm.tools.zone)
        assert [(line.person.code, line.why, line.waits) for line in told] == [("E101", "invaliduser", False)]
        assert load("zh-CN").knows("undelivered.invaliduser")


async def test_a_stale_card_and_a_second_press_change_nothing_and_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await typed_visit(rep)
        card = firm.platform.newest_card("wangjian", "确认")
        await rep.taps("确认")
        settled = firm.visits()
        before = len(rep.texts())
        firm.clock.moved += timedelta(seconds=5)
        await rep.sends(firm.platform.tap("wangjian", "确认", at=rep.at, card=card))
        assert firm.visits() == settled
        assert len(rep.texts()) > before


async def test_without_cards_the_same_visit_goes_by_numbers(tmp_path: Path) -> None:
    async with running(tmp_path, cards=False) as firm:
        rep = firm.member("wangjian")
        await typed_visit(rep)
        assert "1 确认" in rep.texts()[-1]
        await rep.says("１")
        assert firm.visits()[0].state is State.CLOSED
        assert not firm.platform.cards


async def test_a_typed_answer_ends_the_card_too(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await typed_visit(rep)
        await rep.says("1")
        assert firm.visits()[0].state is State.CLOSED
        await firm.platform.until(lambda: [card["shown"] for card in firm.platform.cards.values()].count("已提交") >= 1)


@pytest.mark.usefixtures("quick")
async def test_whatever_goes_wrong_with_sending_nothing_is_lost_and_the_order_holds(tmp_path: Path) -> None:
    async with running(tmp_path, speed=60) as firm:
        first, second = firm.member("wangjian"), firm.member("sunhao")
        for trouble in (
            Trouble(errcode=45009),
            Trouble(status=502),
            Trouble(cut=True),
            Trouble(errcode=-1),
            Trouble(body=b"<html>no</html>"),
            Trouble(cut=True, done=True),
            Trouble(half=True),
        ):
            firm.platform.trouble("message/send", trouble)
        for phone in (first, second):
            for word in ("help", "todos", "visits"):
                await phone.sends(firm.platform.messages.text(phone.userid, f"/{word}", at=phone.at), settle=False)
        await firm.idle(40)
        told = [[text for text, _ in groupby(phone.texts())] for phone in (first, second)]
        assert told[0] == told[1], "a repeat comes right behind its first, and nothing overtakes"
        assert [len(texts) for texts in told] == [3, 3]
        assert "待办" in told[0][1]
        assert {row.state for row in firm.outbox()} == {"sent"}


async def test_hostile_bodies_are_never_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as firm:
        platform = firm.platform
        bodies = [b"", b"<xml>", b"\x00" * 50, b"<xml><Encrypt>AAAA</Encrypt></xml>", b"a" * 300_000]
        with caplog.at_level(logging.DEBUG):
            for body in bodies:
                query, _ = platform.signer.seal("<xml/>")
                assert (await platform.post(firm.url, query, body)).status in (400, 403)
            odd = "<xml><ToUserName>x</ToUserName><MsgType>location</MsgType><Location_X>north</Location_X></xml>"
            answer = await platform.push_once(firm.url, odd)
        assert answer.status == 200, "signed with our key: kept, with what is wrong with it"
        assert [(row.state, row.person) for row in firm.inbox()] == [("dead", "wecom:")]
        assert platform.secret not in caplog.text
        assert platform.aes_key not in caplog.text
        assert (await platform.verify(firm.url, platform.signer.echo("424242"))).body == "424242"
