"""聊天页：消息只记一次，机器人说的话一句不丢，坏文件有回话。"""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.wire import incoming_from_plain, read_tap
from rules.evidence import PlaceKind
from storage import people
from tests.databases import WHOLE
from tests.webfirm import NOON, SHOPS, Browser, Firm, open_firm, picture


def key() -> str:
    return str(uuid.uuid4())


def last(firm: Firm) -> Any:
    message = firm.took[-1].message
    assert message is not None
    return incoming_from_plain(message)


async def test_a_text_becomes_one_delivery(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            said = {"key": key(), "kind": "text", "text": "我的拜访"}
            assert await rep.post("/api/messages", said) == {"accepted": True, "new": True}
            assert (last(firm).text, last(firm).at) == ("我的拜访", NOON)
            assert (firm.took[0].person, firm.took[0].chat_ref) == ("web:rep", "rep")


async def test_the_same_message_sent_again_is_applied_once(tmp_path: Path) -> None:
    """信号不好时手机会重发，同一条只算一次。"""
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        firm.link("E006", "other")
        same = {"key": key(), "kind": "text", "text": "下单五箱"}
        async with Browser(firm, "rep") as rep, Browser(firm, "other") as other:
            answers = await asyncio.gather(*(rep.post("/api/messages", same) for _ in range(5)))
            assert sorted(answer["new"] for answer in answers) == [False, False, False, False, True]
            assert len(firm.took) == 1
            assert (await other.post("/api/messages", same))["new"]  # another person's key is another key


async def test_an_uploaded_photo_sent_again_is_applied_once(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            fields = {"key": key(), "kind": "photo"}
            assert (await rep.upload(fields, picture("red"), "image/png"))["new"]
            assert not (await rep.upload(fields, picture("red"), "image/png"))["new"]
            media = last(firm).media
            assert firm.files.get(media.file) == picture("red")
            assert (media.ref, media.mime, media.size) == ("", "image/png", len(picture("red")))


async def test_a_recording_keeps_its_type_and_length(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            fields = {"key": key(), "kind": "voice", "seconds": "6.4", "age_s": "90"}
            await rep.upload(fields, b"\x1aE\xdf\xa3" + bytes(100), "audio/webm;codecs=opus")
            assert (last(firm).kind, last(firm).media.seconds) == ("voice", 6.4)
            assert last(firm).media.mime == "audio/webm;codecs=opus"
            assert last(firm).at == NOON - timedelta(seconds=90)


async def test_a_position_is_known_for_a_browsers_with_accuracy_and_age(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            said = {
                "key": key(),
                "kind": "place",
                "lat": 30.08,
                "lon": 120.49,
                "accuracy": 12.5,
                "fix_age_s": 4,
                "age_s": 60,
            }
            await rep.post("/api/messages", said)
            place = last(firm).place
            assert (place.kind, place.datum, place.accuracy_m) == (PlaceKind.BROWSER, "wgs84", 12.5)
            assert last(firm).at - place.fixed_at == timedelta(seconds=4)
            assert place.title == ""


async def test_an_age_from_a_page_cannot_reach_into_the_future_or_far_back(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            for age, at in (
                (-3600, NOON),
                (10**12, NOON - timedelta(hours=72)),
                ("nan", NOON),
                ("x", NOON),
                (None, NOON),
            ):
                await rep.post("/api/messages", {"key": key(), "kind": "text", "text": "在", "age_s": age})
                assert last(firm).at == at


BAD = [
    {},
    {"kind": "text", "text": "没有编号"},
    {"key": "1", "kind": "text", "text": "编号不对"},
    {"key": str(uuid.uuid4()), "kind": "place", "lat": "x", "lon": 2},
    {"key": str(uuid.uuid4()), "kind": "place", "lat": float("nan"), "lon": 2},
    {"key": str(uuid.uuid4()), "kind": "tap", "tapped": "q" * 65},
    {"key": str(uuid.uuid4()), "kind": "photo"},
    {"key": str(uuid.uuid4()), "kind": "join", "text": "x"},
    {"key": str(uuid.uuid4()), "kind": "text", "text": {"nested": 1}},
    [1, 2],
]


@pytest.mark.parametrize("said", BAD, ids=range(len(BAD)))
async def test_a_malformed_message_is_refused_in_words(tmp_path: Path, said: Any) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            assert "没有收下" in (await rep.post("/api/messages", said, status=400))["text"]
            assert firm.took == []


async def test_a_demo_position_is_marked_and_only_a_demo_has_it(tmp_path: Path) -> None:
    said = {"key": key(), "kind": "place", "demo_outlet": "C1"}
    (tmp_path / "demo").mkdir()
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            assert (await rep.post("/api/messages", said, status=403))["problem"] == "demo_only"
            assert firm.took == []
    async with open_firm(tmp_path / "demo", demo=True) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            await rep.post("/api/messages", said)
            place = last(firm).place
            assert (place.lat, place.lon) == SHOPS["C1"][2:]
            assert place.title == "演示：柯桥老灶台酒家门口"
            await rep.post("/api/messages", {**said, "key": key(), "demo_outlet": "C9"}, status=403)


async def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_taken(tmp_path: Path) -> None:
    async with open_firm(tmp_path, upload_mb=1) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            for size in (1024 * 1024 + 1, 4 * 1024 * 1024):
                answer = await rep.upload({"key": key(), "kind": "photo"}, b"x" * size, "image/jpeg", status=413)
                assert "超过 1 MB" in answer["text"]
            assert firm.took == []
            await rep.upload({"key": key(), "kind": "photo"}, b"x" * 1024 * 1024, "image/jpeg")
            assert last(firm).media.size == 1024 * 1024


async def test_an_empty_recording_goes_to_the_bot_that_answers_it(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            await rep.upload({"key": key(), "kind": "voice"}, b"", "audio/webm")
            assert (last(firm).media.problem, last(firm).media.file) == ("empty", "")


async def test_what_the_bot_says_is_streamed_with_its_buttons(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep, rep.events() as events:
            assert await events.next("answered") == []
            row = firm.say(account, "结果是？", ("成交", "丢单"))
            said = await events.next("said")
            assert (said["id"], said["texts"], said["answered"]) == (row, ["结果是？"], False)
            [[first, second]] = said["buttons"]
            assert (first["label"], read_tap(second["data"])) == ("成交", (said["question"], 1))
            with firm.database.work(WHOLE) as work:
                people.answered(work, said["question"], NOON)
            firm.channel.site.ring("rep")
            await events.next("answered")
            assert (await rep.get("/api/history"))["messages"][0]["answered"]


async def test_a_reconnecting_page_misses_nothing_and_sees_nothing_twice(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            firm.say(account, "一")
            async with rep.events() as events:
                seen = await events.next("said")
            firm.say(account, "二")  # while nobody listens
            firm.say(account, "三")
            async with rep.events(last_seen=seen["id"]) as events:
                texts = [(await events.next("said"))["texts"][0] for _ in range(2)]
                firm.say(account, "四")
                texts.append((await events.next("said"))["texts"][0])
            assert texts == ["二", "三", "四"]


async def test_what_is_not_due_yet_is_not_said_and_keeps_its_place(tmp_path: Path) -> None:
    """排在后面的话不会先到：要到九点才发的提醒，九点前不显示，九点后一句不少。"""
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        firm.say(account, "提醒：下午三点回访", after=timedelta(hours=1))
        firm.say(account, "后来的话")
        async with Browser(firm, "rep") as rep:
            assert (await rep.get("/api/history"))["messages"] == []
            firm.now += timedelta(hours=1)
            said = [message["texts"][0] for message in (await rep.get("/api/history"))["messages"]]
            assert sorted(said) == ["后来的话", "提醒：下午三点回访"]


async def test_two_pages_of_one_person_hear_the_same_and_another_person_nothing(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        firm.link("E006", "other")
        async with Browser(firm, "rep") as rep, Browser(firm, "other") as other:
            async with rep.events() as one, rep.events() as two, other.events() as foreign:
                firm.say(account, "只给王建")
                assert (await one.next("said"))["texts"] == (await two.next("said"))["texts"] == ["只给王建"]
                with pytest.raises(TimeoutError):
                    await foreign.next("said", seconds=0.3)
            assert (await other.get("/api/history"))["messages"] == []


async def test_stopping_ends_open_streams_at_once(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep, rep.events() as events:
            await events.next("answered")
            async with asyncio.timeout(2):
                await firm.channel.stop()
            with pytest.raises(EOFError):
                await events.next("said")


async def test_a_long_chat_is_read_back_page_by_page_without_gap_or_repeat(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            wanted = []
            for number in range(90):
                firm.now += timedelta(minutes=1)
                await rep.post("/api/messages", {"key": key(), "kind": "text", "text": f"问{number}"})
                wanted.append(f"问{number}")
                for part in ("答", "再答") if number % 3 == 0 else ("答",):
                    firm.now += timedelta(seconds=1)
                    firm.say(account, f"{part}{number}")
                    wanted.append(f"{part}{number}")
            read: list[str] = []
            before: str | None = ""
            while before is not None:
                query = {"before": before} if before else {}
                async with rep.client.get("/api/history", params=query) as answer:
                    page = await answer.json()
                read = [message.get("text") or message["texts"][0] for message in page["messages"]] + read
                before = page["before"]
            assert read == wanted


async def test_what_people_and_the_bot_say_comes_back_as_text(tmp_path: Path) -> None:
    """名字和内容里写代码，原样当文字，绝不当网页。"""
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    async with open_firm(tmp_path) as firm:
        account = firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            await rep.post("/api/messages", {"key": key(), "kind": "text", "text": evil})
            firm.say(account, evil, (evil[:20],))
            async with rep.client.get("/api/history") as answer:
                assert answer.content_type == "application/json"
                said = (await answer.json())["messages"]
            assert said[0]["text"] == evil
            assert said[1]["texts"] == [evil]


async def test_own_files_are_ones_own(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        firm.link("E006", "other")
        async with Browser(firm, "rep") as rep, Browser(firm, "other") as other:
            await rep.upload({"key": key(), "kind": "photo"}, picture("blue"), "image/png")
            [sent] = (await rep.get("/api/history"))["messages"]
            async with rep.client.get(sent["file"]) as answer:
                assert (answer.status, answer.content_type) == (200, "image/png")
                assert await answer.read() == picture("blue")
            await other.get(sent["file"], status=404)
            await rep.get("/api/own/999/file", status=404)
            await rep.get("/api/own/..%2f..%2fetc/file", status=404)


async def test_an_uploaded_page_is_never_shown_as_a_page(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as rep:
            await rep.upload({"key": key(), "kind": "photo"}, b"<script>alert(1)</script>", "text/html")
            async with rep.client.get((await rep.get("/api/history"))["messages"][0]["file"]) as answer:
                assert answer.content_type == "application/octet-stream"
                assert answer.headers["Content-Disposition"] == "attachment"
                assert "sandbox" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_player_gets_the_part_it_asks_for(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        sound = bytes(range(256)) * 4
        async with Browser(firm, "rep") as rep:
            await rep.upload({"key": key(), "kind": "voice", "seconds": "3"}, sound, "audio/mp4")
            source = (await rep.get("/api/history"))["messages"][0]["file"]
            for wanted, part in (("bytes=0-1", sound[:2]), ("bytes=1000-", sound[1000:]), ("bytes=-5", sound[-5:])):
                async with rep.client.get(source, headers={"Range": wanted}) as answer:
                    assert answer.status == 206
                    assert await answer.read() == part
            for wanted in ("bytes=9000-", "lines=1-2"):
                async with rep.client.get(source, headers={"Range": wanted}) as answer:
                    assert (answer.status, await answer.read()) == (200, sound)
