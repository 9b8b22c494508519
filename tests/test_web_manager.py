"""经理页：只看得到自己区域的拜访、照片、语音和预警。"""

from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from handlers.messages import Reply, Say
from handlers.turn import outgoing
from rules.people import scope_of
from storage import figures, outbox, people
from storage.people import Account
from tests.databases import WHOLE
from tests.webfirm import NOON, STAFF, Browser, Firm, open_firm, picture
from texts import load
from web.manager import day_of

MANAGERS = {"E001": "boss", "E002": "keqiao", "E003": "yuecheng"}


def link_all(firm: Firm) -> None:
    for code, user_ref in MANAGERS.items():
        firm.link(code, user_ref)
    firm.link("E005", "rep")


async def seen(firm: Firm, user_ref: str, path: str, status: int = 200) -> Any:
    async with Browser(firm, user_ref) as browser:
        return await browser.get(f"/manager/api{path}", status=status)


async def test_a_day_shows_each_visit_of_the_own_district(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        keqiao, yuecheng = firm.visit("E005", "C1"), firm.visit("E006", "C2")
        undecided = firm.visit("E005", None)
        day = await seen(firm, "keqiao", "/day")
        assert [visit["id"] for visit in day["visits"]] == [keqiao, undecided]
        assert [visit["id"] for visit in (await seen(firm, "yuecheng", "/day"))["visits"]] == [yuecheng]
        assert len((await seen(firm, "boss", "/day"))["visits"]) == 3
        row = day["visits"][0]
        assert (row["at"], row["rep"], row["outlet"], row["district"]) == ("10:00", "王建", "柯桥老灶台酒家", "柯桥区")
        assert (row["outcome"]["text"], row["grade"]["text"], row["lasted"]) == ("成交", "存疑", 32)
        assert "412" in row["grade"]["reasons"][0]
        assert row["summary"] == "演示了小酥肉的出餐；老板娘认可新品"
        assert day["visits"][1]["outlet"] == "（门店待定）"
        assert day["counts"] == {"visits": 2, "reps": 1, "won": 2, "verified": 0, "doubtful": 2}


async def test_a_large_day_comes_part_by_part_with_the_figures_of_all(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        numbers = [firm.visit("E005", "C1") for _ in range(3)]
        scope, seen_ids = scope_of(next(one for one in STAFF if one.code == "E002")), []
        with firm.database.read(scope) as work:
            manager = people.employee(work, "E002")
            assert manager is not None
            for skip, left in ((0, 1), (2, 0)):
                shown, _ = day_of(
                    work, manager, NOON.date(), load("zh-CN"), ZoneInfo("Asia/Shanghai"), skip=skip, most=2
                )
                assert (shown["more"], shown["counts"]["visits"]) == (left, 3)
                seen_ids += [visit["id"] for visit in shown["visits"]]
        assert seen_ids == numbers


async def test_a_day_is_the_firms_own_local_day(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        firm.now = NOON - timedelta(hours=9, minutes=30)  # opened at 00:30 of the 23rd, still the 22nd in UTC
        firm.visit("E005", "C1")
        firm.now = NOON
        assert len((await seen(firm, "keqiao", "/day?day=2026-11-23"))["visits"]) == 1
        assert (await seen(firm, "keqiao", "/day?day=2026-11-22"))["visits"] == []
        assert (await seen(firm, "keqiao", "/day"))["today"] == "2026-11-23"
        await seen(firm, "keqiao", "/day?day=gestern", status=400)


async def test_a_visit_shows_all_its_evidence(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        number = firm.visit("E005", "C1", problem="<b>老板</b>嫌贵")
        visit = await seen(firm, "keqiao", f"/visits/{number}")
        assert visit["place"] == "手动选点 · 10:00 · 离门店 18 米"
        [problem] = [answer for answer in visit["answers"] if answer["name"] == "解决的问题"]
        assert (problem["value"], problem["quote"], problem["source"]) == ("<b>老板</b>嫌贵", "老板娘说好", "语音纪要")
        [outcome] = [answer for answer in visit["answers"] if answer["name"] == "结果"]
        assert (outcome["value"], outcome["before"]) == ("成交", "还在谈")
        assert visit["notes"][0]["text"] == "老板娘说好"
        assert (visit["appeals"][0]["words"], visit["appeals"][0]["state"]) == ("门店搬到对面了", "待处理")
        async with Browser(firm, "keqiao") as manager:
            async with manager.client.get(visit["photos"][0]["src"]) as answer:
                assert (answer.content_type, await answer.read()) == ("image/png", picture("seagreen"))
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            async with manager.client.get(visit["notes"][0]["src"]) as answer:
                assert answer.content_type == "audio/ogg"


async def test_nothing_of_another_district_can_be_opened(tmp_path: Path) -> None:
    """别的区域的拜访、照片、语音，猜编号也打不开，和不存在一样。"""
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        number = firm.visit("E006", "C2")
        foreign = await seen(firm, "yuecheng", f"/visits/{number}")
        paths = [
            f"/visits/{number}",
            *(item["src"].removeprefix("/manager/api") for item in (*foreign["photos"], *foreign["notes"])),
        ]
        assert len(paths) == 3
        for path in paths:
            assert (await seen(firm, "keqiao", path, status=404))["problem"] == "not_found"
        for path in (
            "/visits/999",
            "/visits/x",
            "/visits/-1",
            "/photos/999",
            "/notes/999/audio",
            "/visits/" + "9" * 30,
        ):
            await seen(firm, "keqiao", path, status=404)


async def test_reps_and_strangers_are_kept_out(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        number, alert = firm.visit("E005", "C1"), firm.alert("E002", "E005")
        for path in ("/day", f"/visits/{number}", f"/alerts/{alert}/0", "/photos/1", "/notes/1/audio"):
            for who in ("rep", "", "nobody"):
                assert (await seen(firm, who, path, status=403))["problem"] == "managers_only"


async def test_an_alert_leads_to_the_last_three_visits_of_its_reps(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        for hours in range(4):
            firm.now = NOON + timedelta(hours=hours)
            firm.visit("E005", "C1", problem=f"第{hours}次")
        firm.visit("E005", "C2", problem="别的区域")
        firm.now = NOON
        alert = firm.alert("E002", "E005")
        [line] = (await seen(firm, "keqiao", "/day"))["alerts"]
        assert line["text"] == "柯桥区1名业务员连续2天未完成新客开发目标"
        assert line["names"] == ["王建"]
        found = await seen(firm, "keqiao", f"/alerts/{line['alert']}/{line['number']}")
        [rep] = found["reps"]
        assert [visit["summary"].partition("；")[0] for visit in rep["visits"]] == ["第3次", "第2次", "第1次"]
        assert (await seen(firm, "yuecheng", "/day"))["alerts"] == []
        for who, path in (
            ("yuecheng", f"/alerts/{alert}/0"),
            ("boss", f"/alerts/{alert}/0"),
            ("keqiao", f"/alerts/{alert}/1"),
        ):
            await seen(firm, who, path, status=404)


@pytest.mark.parametrize("person", STAFF, ids=lambda person: person.name)
async def test_every_query_keeps_to_the_scope(tmp_path: Path, person: Any) -> None:
    async with open_firm(tmp_path) as firm:
        numbers = {firm.visit(rep, outlet): (rep, outlet) for rep in ("E005", "E006") for outlet in ("C1", "C2", None)}
        scope = scope_of(person)
        own = {"E005": "柯桥区", "E006": "越城区"}
        shops = {"C1": "柯桥区", "C2": "越城区"}
        allowed = {n for n, (rep, outlet) in numbers.items() if scope.holds(shops.get(outlet or "", own[rep]), rep)}
        with firm.database.read(scope) as work:
            assert {visit.id for visit in figures.visits_on(work, NOON.date())} == allowed
            assert {number for number in numbers if figures.visit(work, number)} == allowed
            latest = [visit.id for visits in figures.last_visits(work, list(own), 10).values() for visit in visits]
            assert set(latest) == allowed


async def test_what_did_not_reach_the_own_people_is_told_with_the_reason_and_without_the_words(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        rep, other = firm.link("E005", "rep"), firm.link("E006", "other")
        late, refused, elsewhere = firm.say(rep, "甲"), firm.say(rep, "乙"), firm.say(other, "丙")
        arrived = firm.say(rep, "丁")
        with firm.database.work(WHOLE) as work:
            outbox.shut(work, late, "window: errcode 45015")
            outbox.give_up(work, refused, "failed", "Refused: too long")
            outbox.shut(work, elsewhere, "passive")
            outbox.sent(work, arrived, firm.now, "1")
        told = (await seen(firm, "keqiao", "/day"))["undelivered"]
        assert len(told) == 2
        assert told[0].startswith("王建：12:00 的回复未能送达（超过 48 小时")
        assert told[0].endswith("对方下次发消息时补发")
        assert "发送失败" in told[1]
        assert not any(word in line for line in told for word in "甲乙")
        assert len((await seen(firm, "boss", "/day"))["undelivered"]) == 3
        assert (await seen(firm, "keqiao", "/day?day=2026-11-22"))["undelivered"] == []


async def test_who_cannot_be_reached_is_named_on_todays_page(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        with firm.database.work(WHOLE) as work:
            rep = people.link(work, Account("telegram", "501", "501", "E005"), firm.now)
            people.out_of_reach(work, rep.id, "blocked", firm.now)
        assert (await seen(firm, "keqiao", "/day"))["undelivered"] == [
            "📵 1 人收不到消息，请提醒他们给机器人发一条：王建（拉黑或停用了机器人）"
        ]
        assert (await seen(firm, "keqiao", "/day?day=2026-11-22"))["undelivered"] == []


@pytest.mark.parametrize("intent", ["reply", "reminder", "alert", "notice", "refusal"])
async def test_every_kind_of_message_has_a_name_on_the_page(tmp_path: Path, intent: str) -> None:
    async with open_firm(tmp_path) as firm:
        link_all(firm)
        rep = firm.link("E005", "rep")
        with firm.database.work(WHOLE) as work:
            row = outbox.queue(work, outgoing(rep, Reply(Say("nothing")), firm.now, "test:kind", intent=intent))
            assert row is not None
            outbox.shut(work, row, "a reason of a later version")
        [told] = (await seen(firm, "keqiao", "/day"))["undelivered"]
        assert "发送失败" in told
