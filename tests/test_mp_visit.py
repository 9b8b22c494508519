"""A whole visit in a 公众号: the running bot behind a loopback platform with real AES callbacks, a real recogniser."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.wiring import TEST_MODEL
from nlp.speech_process import SpeechProcess
from rules.evidence import Level, PlaceKind
from rules.places import Point, metres_between
from rules.visit import State
from storage import evidence, push_budget
from tests.databases import WHOLE
from tests.mpfirm import ALERT, REMINDER, MpFirm, Phone, clip, running
from tests.telegramfirm import MANAGER_WU, SHOP, START, WANG_JIAN

ZHOU_YANG = "E104"
WON_NOTE = "解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势"
LOST_NOTE = "解决了送货迟到的问题，他嫌价格太贵，后天上午十点半再约"


@pytest.fixture(scope="module")
def recogniser() -> Iterator[SpeechProcess]:
    with SpeechProcess(TEST_MODEL) as process:
        process.warm()
        yield process


@pytest.mark.recogniser
@pytest.mark.parametrize("passive_only", [False, True], ids=["full", "passive only"])
async def test_a_visit_by_pin_photo_voice_and_numbers(
    tmp_path: Path, recogniser: SpeechProcess, passive_only: bool
) -> None:
    async with running(tmp_path, recogniser, passive_only=passive_only) as firm:
        rep = firm.follower(ZHOU_YANG, "oZhouYang_001")
        assert "城南烧烤" in await rep.pins((29.97126, 120.58034))
        assert "门头照已收" in await rep.photographs()
        firm.clock.moved += timedelta(minutes=27)
        heard = await rep.speaks(clip("note01.amr"), wide=clip("note00.amr"))
        if passive_only:
            assert "回复「查看」" in heard
            card = await rep.says("查看")
        else:
            card = rep.pushed()[-1]
        assert "拜访小结" in card
        assert "老板要了鸡翅六箱薯条十包" in card
        assert "1 确认" in card
        assert "具体问题" in await rep.says("１")
        assert "拜访已记录" in await rep.says("担心炸品送来化冻")
        [visit] = firm.visits()
        assert visit.state is State.CLOSED
        assert visit.outlet == "C0017"
        assert visit.value("orders") == [["P004", 6, "箱"], ["P003", 10, "包"]]
        assert rep.acts == (6 if passive_only else 5)
        assert {row.state for row in firm.inbox()} == {"done"}
        assert {row.state for row in firm.outbox()} == {"sent"}
        assert firm.platform.count("message/custom/send") == (0 if passive_only else 1)


async def test_a_pin_of_a_known_corner_is_where_the_corner_is(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, "oWangJian_01")
        await rep.pins()
        place_id = firm.visits()[0].value("place")
        assert isinstance(place_id, int)
        with firm.database.read(WHOLE) as work:
            place = evidence.places(work, [place_id])[place_id]
        assert place.kind is PlaceKind.PIN
        assert place.datum == "gcj02"
        assert metres_between(place.point, Point(*SHOP)) < 5
        assert metres_between(place.raw, Point(*SHOP)) > 300
        assert place.accuracy_m is None


async def test_what_the_app_reports_makes_the_pin_a_proof_and_is_never_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, "oWangJian_01")
        manager, nobody = firm.follower(MANAGER_WU, "oManagerWu_1"), firm.stranger("oNobodyAtAll")
        for phone in (rep, manager, nobody):
            report = firm.platform.messages.position(phone.openid, *SHOP, 12.0, at=phone.at)
            attempts = await phone.sends(report)
            assert [(one.status, one.body) for one in attempts] == [(200, "success")]
            assert attempts[0].seconds < 1
        assert not firm.outbox()
        assert not firm.visits()
        await rep.pins()
        await rep.photographs()
        await rep.says(WON_NOTE)
        await rep.says("确认")
        visit = firm.visits()[0]
        assert visit.state is State.CLOSED
        assert visit.grade is not None
        assert visit.grade.level is Level.VERIFIED


async def test_row_14_the_same_act_told_twice_is_counted_once(tmp_path: Path) -> None:
    """location_select and pic_* come as an event and as the pin or picture itself."""
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, "oWangJian_01")
        made = firm.platform.messages
        place = "<SendLocationInfo><Location_X>30.08</Location_X><Location_Y>120.49</Location_Y></SendLocationInfo>"
        pics = (
            "<SendPicsInfo><Count>2</Count><PicList><item><PicMd5Sum>a</PicMd5Sum></item></PicList>"
            "<PicList><item><PicMd5Sum>b</PicMd5Sum></item></PicList></SendPicsInfo>"
        )
        selected = made.event(rep.openid, "location_select", at=rep.at, raw=place, EventKey="pin")
        assert [one.body for one in await rep.sends(selected)] == ["success"]
        await rep.pins()
        for name in ("pic_sysphoto", "pic_photo_or_album", "pic_weixin"):
            event = made.event(rep.openid, name, at=rep.at, raw=pics, EventKey="photo")
            assert [one.body for one in await rep.sends(event)] == ["success"]
        await rep.photographs()
        [visit] = firm.visits()
        assert len(visit.ids("photo")) == 1
        assert [row.state for row in firm.inbox()] == ["ignored", "done", "ignored", "ignored", "ignored", "done"]
        assert not [row for row in firm.inbox() if row.error]


@pytest.mark.parametrize("typed", ["3", "３", "三", "第3个", "丢单", "没戏"])
async def test_a_choice_may_be_typed_as_one_likes(tmp_path: Path, typed: str) -> None:
    async with running(tmp_path) as firm:
        rep = firm.follower(WANG_JIAN, "oWangJian_01")
        await rep.pins()
        await rep.photographs()
        await rep.says("跟老板聊了聊锅底的味道，留了样品")
        await rep.says("确认")
        asked = rep.passive[-1]
        if "结果" not in asked:
            asked = await rep.says("锅底味道不稳")
        assert "3 丢单" in asked
        await rep.says(typed)
        assert firm.visits()[0].value("outcome") == "lost"


async def remind(firm: MpFirm) -> Phone:
    rep = firm.follower(WANG_JIAN, "oWangJian_01")
    await rep.pins()
    await rep.photographs()
    await rep.says(LOST_NOTE)
    await rep.says("确认")
    assert firm.visits()[0].state is State.CLOSED
    return rep


async def test_a_reminder_goes_out_within_48_hours_as_an_ordinary_message(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = await remind(firm)
        assert not rep.pushed()
        await firm.time_passes(START + timedelta(days=1, hours=23, minutes=45))
        [reminder] = rep.pushed()
        assert "⏰" in reminder
        assert "1 完成" in reminder
        assert "柯桥老灶台酒家" in await rep.says("完成")


async def test_beyond_the_window_a_reminder_is_a_template(tmp_path: Path) -> None:
    async with running(tmp_path, templates={"reminder": REMINDER}) as firm:
        rep = await remind(firm)
        with firm.database.work(WHOLE) as work:
            push_budget.exhausted(work, "mp", rep.openid, shut=True)
        await firm.time_passes(START + timedelta(days=2))
        [reminder] = rep.pushed()
        assert "柯桥老灶台酒家" in reminder
        assert "2026年11月25日" in reminder
        assert {row.state for row in firm.outbox()} == {"sent"}


async def test_the_alert_reaches_the_manager_and_a_number_shows_the_visits(tmp_path: Path) -> None:
    async with running(tmp_path, templates={"alert": ALERT}) as firm:
        rep, manager = await remind(firm), firm.follower(MANAGER_WU, "oManagerWu_1")
        await manager.says("帮助")
        await firm.time_passes(START.replace(hour=18, minute=1))
        [alert] = manager.pushed()
        assert "今日异常预警" in alert
        assert not any("今日异常预警" in text for text in rep.pushed())
        assert "1 " in alert
        shown = await manager.says("1、2")
        assert shown.count("·") >= 2
        firm.clock.moved += timedelta(days=3)
        await firm.time_passes((START + timedelta(days=3)).replace(hour=18, minute=1))
        assert "今日异常预警" in manager.pushed()[-1]
        assert firm.platform.sent[-1]["msgtype"] == "template"
