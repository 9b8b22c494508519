"""The one door: what a transcript cannot bring about. Our own faults, odd firms, the last minute of a working day."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.abilities import BY_NAME
from bot.rendering import render
from bot.replay import START, Replay
from bot.script import read_script
from handlers.messages import Incoming, Kind, Media
from handlers.receive import apologise, receive
from handlers.reminders import remind
from handlers.tools import make_tools
from handlers.typed import LONGEST_TEXT
from handlers.wire import incoming_to_plain, read_tap, tap_data
from rules.people import Employee, Role
from storage import evidence, firm, firm_tables, follow_ups, inbox, outbox, people, visits
from storage.database import Database
from storage.files import FileLost
from storage.inbox import Delivery
from tests.chatfirm import fresh_firm
from tests.databases import WHOLE

UNHURRIED = settings(deadline=None)  # several test runs may share the machine

VISIT = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
"""


@contextmanager
def firm_at_work(folder: Path, script: str = VISIT) -> Iterator[Replay]:
    with fresh_firm(folder) as (database, tools):
        replay = Replay(database, tools)
        replay.run(read_script(script))
        yield replay


def deliver(replay: Replay, message: Incoming, key: str = "x", person: str = "E101") -> int | None:
    """Store and apply one message; its inbox row, None for a duplicate."""
    delivery = Delivery("terminal", "replay", key, f"terminal:{person}", person, {}, incoming_to_plain(message), START)
    with replay.database.work(WHOLE) as work:
        row = inbox.accept(work, delivery)
    if row is not None:
        receive(replay.database, replay.tools, row, replay.clock)
    return row


def said(database: Database) -> list[str]:
    with database.read(WHOLE) as work:
        return ["\n".join(render(one.body, BY_NAME["terminal"]).texts) for one in outbox.after(work, 0)]


def text(replay: Replay, words: str) -> Incoming:
    return Incoming(Kind.TEXT, replay.clock, text=words)


def test_applying_a_delivery_twice_changes_nothing(tmp_path: Path) -> None:
    with firm_at_work(tmp_path) as replay:
        row = deliver(replay, text(replay, "例行拜访，没谈生意，解决了堆头摆放的问题。"))
        assert row is not None
        before = said(replay.database)
        receive(replay.database, replay.tools, row, replay.clock)
        receive(replay.database, replay.tools, 999_999, replay.clock)
        assert deliver(replay, text(replay, "别的话"), key="x") is None
        assert said(replay.database) == before


def test_a_fault_of_ours_keeps_nothing_and_the_rep_is_told(tmp_path: Path) -> None:
    """The photo's file is gone from our own store: the turn fails as a whole, and is not lost."""
    with firm_at_work(tmp_path) as replay:
        with replay.database.read(WHOLE) as work:
            before = list(firm_tables.rows(work, "photo")), list(firm_tables.rows(work, "visit_change"))
        told = len(said(replay.database))
        photo = Incoming(Kind.PHOTO, replay.clock, media=Media("", name="a.jpg", size=9, file="0" * 64))
        with pytest.raises(FileLost):
            deliver(replay, photo)
        with replay.database.read(WHOLE) as work:
            assert (list(firm_tables.rows(work, "photo")), list(firm_tables.rows(work, "visit_change"))) == before
            (waiting,) = inbox.waiting(work, replay.clock)
        assert len(said(replay.database)) == told
        apologise(replay.database, waiting.id, replay.clock)
        assert f"编号 {waiting.id}" in said(replay.database)[-1]


def test_the_longest_text_is_kept_and_answered_on_every_channel(tmp_path: Path) -> None:
    words = ("老板娘说薯条太粗，换细一点的。😀" * 400)[:LONGEST_TEXT]
    assert len(words) == LONGEST_TEXT == 4096
    with firm_at_work(tmp_path) as replay:
        deliver(replay, text(replay, words))
        with replay.database.read(WHOLE) as work:
            (note,) = firm_tables.rows(work, "note")
            (last,) = outbox.after(work, 0)[-1:]
        assert note["text"] == words
        for abilities in BY_NAME.values():
            assert all(render(last.body, abilities).texts)


@pytest.mark.parametrize(
    ("words", "answer"),
    [("我到了", "这不是定位"), ("😀", "这不是定位"), ("？？", "这不是定位")],
)
def test_words_are_no_position(tmp_path: Path, words: str, answer: str) -> None:
    with firm_at_work(
        tmp_path, "at: 2026-11-23 10:00\nrep: [photo 门头.jpg]\nrep: 例行拜访，没谈生意。\nrep: 确认\n"
    ) as replay:
        deliver(replay, text(replay, words))
        assert said(replay.database)[-1].startswith(answer)


def test_a_photo_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    """200 million white pixels in 200 kB: told from the header, never decoded."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(bomb, "PNG")
    with firm_at_work(tmp_path) as replay:
        file = replay.tools.files.put(bomb.getvalue())
        deliver(replay, Incoming(Kind.PHOTO, replay.clock, media=Media("", size=9, file=file)))
        assert said(replay.database)[-1].startswith("照片像素太大")


def test_an_outlet_without_coordinates_is_named_and_graded_unverifiable(tmp_path: Path) -> None:
    with firm_at_work(tmp_path, "at: 2026-11-23 10:00\nrep: [place 30.10005 120.51003 live accuracy=8]\n") as replay:
        with replay.database.work(WHOLE) as work:
            shop = firm.outlet(work, "C0005")
            assert shop is not None
            firm.save_outlets(work, [replace(shop, point=None)])
        replay.run(read_script("rep: [photo 门头.jpg]\nrep: 例行拜访，没谈生意，解决了摆放的问题。\nrep: 确认\n"))
        replay.run(read_script("rep: 安昌古镇腊味馆\n"))
        assert "签到：无法核实（门店还没有坐标）" in said(replay.database)[-1]


def test_a_firm_without_managers_keeps_the_appeal(tmp_path: Path) -> None:
    with fresh_firm(tmp_path) as (database, tools):
        with database.work(WHOLE) as work:
            managers = [person for person in people.staff(work) if person.manages]
            people.save_employees(work, [replace(person, active=False) for person in managers])
        replay = Replay(database, tools)
        replay.run(read_script(VISIT.replace("live accuracy=8", "forwarded")))
        replay.run(read_script("rep: 例行拜访，没谈生意，解决了摆放的问题。\nrep: 确认\nrep: [tap 申诉]\nrep: 我在\n"))
        assert said(database)[-1].startswith("申诉已记录，但没有能在聊天里收到它的经理")
        with database.read(WHOLE) as work:
            assert [appeal.words for appeal in evidence.appeals_of(work, 1)] == ["我在"]


def test_an_appeal_goes_to_the_nearest_manager_whom_a_message_reaches(tmp_path: Path) -> None:
    with fresh_firm(tmp_path) as (database, tools):
        replay = Replay(database, tools)
        replay.run(read_script(VISIT.replace("live accuracy=8", "forwarded")))
        with database.work(WHOLE) as work:
            for account in people.accounts_of(work, "E002"):
                people.out_of_reach(work, account.id, "left", replay.clock)
        replay.run(read_script("rep: 例行拜访，没谈生意，解决了摆放的问题。\nrep: 确认\nrep: [tap 申诉]\nrep: 我在\n"))
        to_director, to_rep = said(database)[-2:]
        assert "我在" in to_director
        assert "钱总" in to_rep


LATE = """at: 2026-11-26 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
rep: 老板要了五箱小酥肉，竞品缺货，解决了出餐慢的问题，周日上午十点再来。
rep: 确认
"""


def test_a_reminder_for_the_last_moment_of_the_day_survives_a_late_tick(tmp_path: Path) -> None:
    """The clock ticks every 20 seconds: 18:30:00 is never hit exactly, and the next chance is after the appointment."""
    with firm_at_work(tmp_path, LATE) as replay, replay.database.work(WHOLE) as work:
        (todo,) = follow_ups.open_of(work, "E101")
        due = todo.remind_at.astimezone(replay.zone)
        assert f"{due:%m-%d %H:%M}" == "11-28 18:30"
        assert remind(work, due - timedelta(seconds=1), replay.tools.limits) == 0
        assert remind(work, due + timedelta(seconds=19), replay.tools.limits) == 1
        assert remind(work, due + timedelta(seconds=39), replay.tools.limits) == 0


def test_a_reminder_missed_for_longer_waits_for_the_morning(tmp_path: Path) -> None:
    with firm_at_work(tmp_path, LATE) as replay, replay.database.work(WHOLE) as work:
        (todo,) = follow_ups.open_of(work, "E101")
        assert remind(work, todo.remind_at + timedelta(hours=2), replay.tools.limits) == 0
        monday = datetime(2026, 11, 30, 8, 30, tzinfo=replay.zone)
        assert remind(work, monday, replay.tools.limits) == 1


def test_of_a_stranger_nothing_is_kept(tmp_path: Path) -> None:
    with (
        firm_at_work(tmp_path, "at: 2026-11-23 10:00\nstranger 老六: 我的秘密\n") as replay,
        replay.database.read(WHOLE) as work,
    ):
        delivery = inbox.of_id(work, 1)
        assert delivery is not None
        assert "秘密" not in str(delivery)
        assert not list(firm_tables.visits(work))
        assert people.account(work, "terminal", "老六") is None


def test_a_question_of_somebody_else_cannot_be_answered(tmp_path: Path) -> None:
    """Question numbers are easy to guess; they are bound to the account that was asked."""
    script = VISIT + "rep: 例行拜访，没谈生意，解决了堆头摆放的问题。\n"
    with firm_at_work(tmp_path, script) as replay:
        for person in ("E102", "E002", "E001"):
            deliver(replay, Incoming(Kind.TAP, replay.clock, tapped="q1.0"), key=person, person=person)
            assert said(replay.database)[-1].startswith("这个按钮已失效")
        with replay.database.read(WHOLE) as work:
            visit = visits.load(work, 1)
        assert visit is not None
        assert visit.proposals


def test_who_became_a_manager_decides_and_who_lost_the_region_does_not(tmp_path: Path) -> None:
    script = VISIT.replace("live accuracy=8", "forwarded")
    script += "rep: 例行拜访，没谈生意，解决了摆放的问题。\nrep: 确认\nrep: [tap 申诉]\nrep: 我在\n"
    with firm_at_work(tmp_path, script) as replay:
        with replay.database.work(WHOLE) as work:
            people.save_employees(work, [Employee("E002", "吴经理", Role.AREA_MANAGER, ("越城区",), "E001")])
        replay.run(read_script("as 吴经理: [tap 认可]\n"))
        assert said(replay.database)[-1] == "这个按钮已失效。"
        with replay.database.work(WHOLE) as work:
            people.save_employees(work, [Employee("E002", "吴经理", Role.AREA_MANAGER, ("柯桥区",), "E001")])
        replay.run(read_script("as 吴经理: [tap 认可]\n"))
        assert said(replay.database)[-1] == "已认可，签到改为已核实。"


def test_messages_of_one_rep_are_taken_in_the_platforms_order(tmp_path: Path) -> None:
    with firm_at_work(tmp_path) as replay:
        for key, position in (("late", 8), ("early", 7)):
            message = incoming_to_plain(text(replay, key))
            delivery = Delivery("terminal", "r", key, "terminal:E101", "E101", {}, message, START, position=position)
            with replay.database.work(WHOLE) as work:
                inbox.accept(work, delivery)
        with replay.database.read(WHOLE) as work:
            (first,) = inbox.waiting(work, replay.clock)
        assert first.delivery_key == "early"


@UNHURRIED
@given(st.integers(0, 10**17), st.integers(0, 99))
def test_a_button_says_what_it_is_and_fits_telegram(question: int, index: int) -> None:
    data = tap_data(question, index)
    assert read_tap(data) == (question, index)
    assert len(data.encode()) <= 64


@UNHURRIED
@given(st.text(max_size=80))
def test_what_no_button_of_ours_says_is_none(data: str) -> None:
    pressed = read_tap(data)
    assert pressed is None or (data.startswith("q") and all(number >= 0 for number in pressed))


def test_a_firm_that_sets_its_own_words_asks_those(tmp_path: Path) -> None:
    with fresh_firm(tmp_path) as (database, tools):
        limits = replace(tools.limits, close_factors=("人情到位", "天冷"), undo_hours=1)
        replay = Replay(database, make_tools(limits, tools.files))
        replay.run(read_script(VISIT + "rep: 老板要了五箱小酥肉，解决了出餐慢的问题。\nrep: 确认\n"))
        assert said(database)[-1].endswith("1 人情到位  2 天冷")
        replay.run(read_script("at: +2h\nrep: 撤销\n"))
        assert said(database)[-1] == "没有可以撤销的操作。"
